//! Does the candidate prove itself? A rule names one validator of this closed list; it gets the span that the
//! pattern found and says whether check digits, ranges or structure hold. Validators are pure, bounded by the
//! span, and know neither rule nor surroundings. A validator that refuses ends the candidate: there is no
//! half-valid number.

#![allow(clippy::many_single_char_names, reason = "the digits of a number have places, not names")]

mod americas;
mod asia;
mod asia_pacific_africa;
mod eurasia;
mod european_vat;
mod latin_america;
mod network;
mod northern_eastern_europe;
mod payment;
mod secrets;
mod spelt;
mod symbols;
#[cfg(test)]
mod tests;
mod western_europe;

/// The proofs that a rule can ask for, by the name that stands in its `validate` field (in snake case).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Validator {
    /// See `payment::luhn`.
    Luhn,
    /// See `payment::payment_card`.
    PaymentCard,
    /// See `spelt::spelt_card`.
    SpeltCard,
    /// See `spelt::spelt_card_in_words`.
    SpeltCardInWords,
    /// See `payment::iban`.
    Iban,
    /// See `payment::lei`.
    Lei,
    /// See `payment::aba_routing`.
    AbaRouting,
    /// See `payment::bitcoin_address`.
    BitcoinAddress,
    /// See `americas::us_ssn`.
    UsSsn,
    /// See `americas::us_itin`.
    UsItin,
    /// See `americas::us_ein`.
    UsEin,
    /// See `americas::us_state_zip`.
    UsStateZip,
    /// See `americas::us_npi`.
    UsNpi,
    /// See `americas::us_dea`.
    UsDea,
    /// See `americas::ca_sin`.
    CaSin,
    /// See `americas::br_cpf`.
    BrCpf,
    /// See `americas::br_cnpj`.
    BrCnpj,
    /// See `americas::cl_rut`.
    ClRut,
    /// See `americas::ar_cuit`.
    ArCuit,
    /// See `americas::mx_curp`.
    MxCurp,
    /// See `western_europe::uk_nhs`.
    UkNhs,
    /// See `western_europe::uk_nino`.
    UkNino,
    /// See `western_europe::uk_utr`.
    UkUtr,
    /// See `western_europe::de_tax_id`.
    DeTaxId,
    /// See `western_europe::de_vat`.
    DeVat,
    /// See `western_europe::de_id_card`.
    DeIdCard,
    /// See `western_europe::de_health_insurance`.
    DeHealthInsurance,
    /// See `western_europe::de_pension`.
    DePension,
    /// See `western_europe::de_physician`.
    DePhysician,
    /// See `western_europe::fr_nir`.
    FrNir,
    /// See `western_europe::fr_siren`.
    FrSiren,
    /// See `western_europe::es_dni`.
    EsDni,
    /// See `western_europe::it_fiscal_code`.
    ItFiscalCode,
    /// See `western_europe::it_vat`.
    ItVat,
    /// See `western_europe::nl_bsn`.
    NlBsn,
    /// See `western_europe::be_national`.
    BeNational,
    /// See `western_europe::pt_nif`.
    PtNif,
    /// See `western_europe::ch_ahv`.
    ChAhv,
    /// See `western_europe::at_insurance`.
    AtInsurance,
    /// See `western_europe::ie_pps`.
    IePps,
    /// See `northern_eastern_europe::pl_pesel`.
    PlPesel,
    /// See `northern_eastern_europe::pl_nip`.
    PlNip,
    /// See `northern_eastern_europe::se_personal`.
    SePersonal,
    /// See `northern_eastern_europe::se_organisation`.
    SeOrganisation,
    /// See `northern_eastern_europe::no_birth_number`.
    NoBirthNumber,
    /// See `northern_eastern_europe::dk_cpr`.
    DkCpr,
    /// See `northern_eastern_europe::fi_identity_code`.
    FiIdentityCode,
    /// See `northern_eastern_europe::cz_birth_number`.
    CzBirthNumber,
    /// See `northern_eastern_europe::ro_cnp`.
    RoCnp,
    /// See `northern_eastern_europe::bg_egn`.
    BgEgn,
    /// See `northern_eastern_europe::hr_oib`.
    HrOib,
    /// See `northern_eastern_europe::baltic_personal_code`.
    BalticPersonalCode,
    /// See `northern_eastern_europe::lv_personal_code`.
    LvPersonalCode,
    /// See `northern_eastern_europe::gr_afm`.
    GrAfm,
    /// See `northern_eastern_europe::tr_identity`.
    TrIdentity,
    /// See `northern_eastern_europe::hu_taj`.
    HuTaj,
    /// See `northern_eastern_europe::ua_taxpayer`.
    UaTaxpayer,
    /// See `northern_eastern_europe::is_kennitala`.
    IsKennitala,
    /// See `asia_pacific_africa::in_aadhaar`.
    InAadhaar,
    /// See `asia_pacific_africa::in_gstin`.
    InGstin,
    /// See `asia_pacific_africa::sg_nric`.
    SgNric,
    /// See `asia_pacific_africa::kr_resident`.
    KrResident,
    /// See `asia_pacific_africa::kr_business`.
    KrBusiness,
    /// See `asia_pacific_africa::cn_resident`.
    CnResident,
    /// See `asia_pacific_africa::jp_my_number`.
    JpMyNumber,
    /// See `asia_pacific_africa::tw_identity`.
    TwIdentity,
    /// See `asia_pacific_africa::hk_identity`.
    HkIdentity,
    /// See `asia_pacific_africa::th_citizen`.
    ThCitizen,
    /// See `asia_pacific_africa::au_tfn`.
    AuTfn,
    /// See `asia_pacific_africa::au_medicare`.
    AuMedicare,
    /// See `asia_pacific_africa::au_abn`.
    AuAbn,
    /// See `asia_pacific_africa::au_acn`.
    AuAcn,
    /// See `asia_pacific_africa::nz_ird`.
    NzIrd,
    /// See `asia_pacific_africa::za_identity`.
    ZaIdentity,
    /// See `asia_pacific_africa::il_identity`.
    IlIdentity,
    /// See `european_vat::european_vat`.
    EuropeanVat,
    /// See `european_vat::no_organisation`.
    NoOrganisation,
    /// See `european_vat::si_tax`.
    SiTax,
    /// See `european_vat::ch_uid`.
    ChUid,
    /// See `western_europe::es_tax`.
    EsTax,
    /// See `western_europe::es_social`.
    EsSocial,
    /// See `western_europe::lu_national`.
    LuNational,
    /// See `eurasia::ru_inn`.
    RuInn,
    /// See `eurasia::ru_snils`.
    RuSnils,
    /// See `eurasia::yu_citizen`.
    YuCitizen,
    /// See `eurasia::by_payer`.
    ByPayer,
    /// See `eurasia::md_number`.
    MdNumber,
    /// See `eurasia::kz_number`.
    KzNumber,
    /// See `eurasia::eg_national`.
    EgNational,
    /// See `eurasia::ae_identity`.
    AeIdentity,
    /// See `eurasia::sa_identity`.
    SaIdentity,
    /// See `eurasia::kw_civil`.
    KwCivil,
    /// See `latin_america::ec_identity`.
    EcIdentity,
    /// See `latin_america::do_identity`.
    DoIdentity,
    /// See `latin_america::uy_identity`.
    UyIdentity,
    /// See `latin_america::co_tax`.
    CoTax,
    /// See `latin_america::ve_tax`.
    VeTax,
    /// See `latin_america::pe_tax`.
    PeTax,
    /// See `latin_america::mx_tax`.
    MxTax,
    /// See `latin_america::gt_tax`.
    GtTax,
    /// See `asia::my_identity`.
    MyIdentity,
    /// See `asia::id_identity`.
    IdIdentity,
    /// See `asia::id_tax`.
    IdTax,
    /// See `asia::vn_tax`.
    VnTax,
    /// See `asia::pk_identity`.
    PkIdentity,
    /// See `asia::lk_identity`.
    LkIdentity,
    /// See `northern_eastern_europe::pl_regon`.
    PlRegon,
    /// See `northern_eastern_europe::pl_id_card`.
    PlIdCard,
    /// See `northern_eastern_europe::hu_tax`.
    HuTax,
    /// See `northern_eastern_europe::gr_social`.
    GrSocial,
    /// See `western_europe::fr_tax`.
    FrTax,
    /// See `western_europe::pt_card`.
    PtCard,
    /// See `eurasia::ir_national`.
    IrNational,
    /// See `network::public_ipv4`.
    PublicIpv4,
    /// See `network::private_ipv4`.
    PrivateIpv4,
    /// See `network::global_ipv6`.
    GlobalIpv6,
    /// See `network::birth_date`.
    BirthDate,
    /// See `network::number_of_a_person`.
    NumberOfAPerson,
    /// See `network::telephone`.
    Telephone,
    /// See `network::email`.
    Email,
    /// See `network::vin`.
    Vin,
    /// See `secrets::crc32_base62`.
    Crc32Base62,
    /// See `secrets::marked_token`.
    MarkedToken,
    /// See `secrets::jwt`.
    Jwt,
    /// See `secrets::opaque`.
    Opaque,
    /// See `secrets::mixed_opaque`.
    MixedOpaque,
    /// See `secrets::vendor_token`.
    VendorToken,
    /// See `secrets::password`.
    Password,
    /// See `secrets::password_or_word`.
    PasswordOrWord,
    /// See `secrets::credential_word`.
    CredentialWord,
    /// See `secrets::credential_token`.
    CredentialToken,
    /// See `secrets::chosen_password`.
    ChosenPassword,
    /// See `secrets::password_with_signs`.
    PasswordWithSigns,
    /// See `secrets::login`.
    Login,
    /// See `secrets::not_template`.
    NotTemplate,
    /// See `secrets::url_password`.
    UrlPassword,
}

impl Validator {
    /// Whether the span is what it looks like. The span may hold the separators that its standard allows.
    pub fn accepts(self, span: &[u8]) -> bool {
        self.proof()(span)
    }

    #[allow(
        clippy::too_many_lines,
        reason = "one line per validator: splitting the list would hide that it is closed"
    )]
    fn proof(self) -> fn(&[u8]) -> bool {
        match self {
            Self::Luhn => payment::luhn,
            Self::PaymentCard => payment::payment_card,
            Self::SpeltCard => spelt::spelt_card,
            Self::SpeltCardInWords => spelt::spelt_card_in_words,
            Self::Iban => payment::iban,
            Self::Lei => payment::lei,
            Self::AbaRouting => payment::aba_routing,
            Self::BitcoinAddress => payment::bitcoin_address,
            Self::UsSsn => americas::us_ssn,
            Self::UsItin => americas::us_itin,
            Self::UsEin => americas::us_ein,
            Self::UsStateZip => americas::us_state_zip,
            Self::UsNpi => americas::us_npi,
            Self::UsDea => americas::us_dea,
            Self::CaSin => americas::ca_sin,
            Self::BrCpf => americas::br_cpf,
            Self::BrCnpj => americas::br_cnpj,
            Self::ClRut => americas::cl_rut,
            Self::ArCuit => americas::ar_cuit,
            Self::MxCurp => americas::mx_curp,
            Self::UkNhs => western_europe::uk_nhs,
            Self::UkNino => western_europe::uk_nino,
            Self::UkUtr => western_europe::uk_utr,
            Self::DeTaxId => western_europe::de_tax_id,
            Self::DeVat => western_europe::de_vat,
            Self::DeIdCard => western_europe::de_id_card,
            Self::DeHealthInsurance => western_europe::de_health_insurance,
            Self::DePension => western_europe::de_pension,
            Self::DePhysician => western_europe::de_physician,
            Self::FrNir => western_europe::fr_nir,
            Self::FrSiren => western_europe::fr_siren,
            Self::EsDni => western_europe::es_dni,
            Self::ItFiscalCode => western_europe::it_fiscal_code,
            Self::ItVat => western_europe::it_vat,
            Self::NlBsn => western_europe::nl_bsn,
            Self::BeNational => western_europe::be_national,
            Self::PtNif => western_europe::pt_nif,
            Self::ChAhv => western_europe::ch_ahv,
            Self::AtInsurance => western_europe::at_insurance,
            Self::IePps => western_europe::ie_pps,
            Self::PlPesel => northern_eastern_europe::pl_pesel,
            Self::PlNip => northern_eastern_europe::pl_nip,
            Self::SePersonal => northern_eastern_europe::se_personal,
            Self::SeOrganisation => northern_eastern_europe::se_organisation,
            Self::NoBirthNumber => northern_eastern_europe::no_birth_number,
            Self::DkCpr => northern_eastern_europe::dk_cpr,
            Self::FiIdentityCode => northern_eastern_europe::fi_identity_code,
            Self::CzBirthNumber => northern_eastern_europe::cz_birth_number,
            Self::RoCnp => northern_eastern_europe::ro_cnp,
            Self::BgEgn => northern_eastern_europe::bg_egn,
            Self::HrOib => northern_eastern_europe::hr_oib,
            Self::BalticPersonalCode => northern_eastern_europe::baltic_personal_code,
            Self::LvPersonalCode => northern_eastern_europe::lv_personal_code,
            Self::GrAfm => northern_eastern_europe::gr_afm,
            Self::TrIdentity => northern_eastern_europe::tr_identity,
            Self::HuTaj => northern_eastern_europe::hu_taj,
            Self::UaTaxpayer => northern_eastern_europe::ua_taxpayer,
            Self::IsKennitala => northern_eastern_europe::is_kennitala,
            Self::InAadhaar => asia_pacific_africa::in_aadhaar,
            Self::InGstin => asia_pacific_africa::in_gstin,
            Self::SgNric => asia_pacific_africa::sg_nric,
            Self::KrResident => asia_pacific_africa::kr_resident,
            Self::KrBusiness => asia_pacific_africa::kr_business,
            Self::CnResident => asia_pacific_africa::cn_resident,
            Self::JpMyNumber => asia_pacific_africa::jp_my_number,
            Self::TwIdentity => asia_pacific_africa::tw_identity,
            Self::HkIdentity => asia_pacific_africa::hk_identity,
            Self::ThCitizen => asia_pacific_africa::th_citizen,
            Self::AuTfn => asia_pacific_africa::au_tfn,
            Self::AuMedicare => asia_pacific_africa::au_medicare,
            Self::AuAbn => asia_pacific_africa::au_abn,
            Self::AuAcn => asia_pacific_africa::au_acn,
            Self::NzIrd => asia_pacific_africa::nz_ird,
            Self::ZaIdentity => asia_pacific_africa::za_identity,
            Self::IlIdentity => asia_pacific_africa::il_identity,
            Self::EuropeanVat => european_vat::european_vat,
            Self::NoOrganisation => european_vat::no_organisation,
            Self::SiTax => european_vat::si_tax,
            Self::ChUid => european_vat::ch_uid,
            Self::EsTax => western_europe::es_tax,
            Self::EsSocial => western_europe::es_social,
            Self::LuNational => western_europe::lu_national,
            Self::RuInn => eurasia::ru_inn,
            Self::RuSnils => eurasia::ru_snils,
            Self::YuCitizen => eurasia::yu_citizen,
            Self::ByPayer => eurasia::by_payer,
            Self::MdNumber => eurasia::md_number,
            Self::KzNumber => eurasia::kz_number,
            Self::EgNational => eurasia::eg_national,
            Self::AeIdentity => eurasia::ae_identity,
            Self::SaIdentity => eurasia::sa_identity,
            Self::KwCivil => eurasia::kw_civil,
            Self::EcIdentity => latin_america::ec_identity,
            Self::DoIdentity => latin_america::do_identity,
            Self::UyIdentity => latin_america::uy_identity,
            Self::CoTax => latin_america::co_tax,
            Self::VeTax => latin_america::ve_tax,
            Self::PeTax => latin_america::pe_tax,
            Self::MxTax => latin_america::mx_tax,
            Self::GtTax => latin_america::gt_tax,
            Self::MyIdentity => asia::my_identity,
            Self::IdIdentity => asia::id_identity,
            Self::IdTax => asia::id_tax,
            Self::VnTax => asia::vn_tax,
            Self::PkIdentity => asia::pk_identity,
            Self::LkIdentity => asia::lk_identity,
            Self::PlRegon => northern_eastern_europe::pl_regon,
            Self::PlIdCard => northern_eastern_europe::pl_id_card,
            Self::HuTax => northern_eastern_europe::hu_tax,
            Self::GrSocial => northern_eastern_europe::gr_social,
            Self::FrTax => western_europe::fr_tax,
            Self::PtCard => western_europe::pt_card,
            Self::IrNational => eurasia::ir_national,
            Self::PublicIpv4 => network::public_ipv4,
            Self::PrivateIpv4 => network::private_ipv4,
            Self::GlobalIpv6 => network::global_ipv6,
            Self::BirthDate => network::birth_date,
            Self::NumberOfAPerson => network::number_of_a_person,
            Self::Telephone => network::telephone,
            Self::Email => network::email,
            Self::Vin => network::vin,
            Self::Crc32Base62 => secrets::crc32_base62,
            Self::MarkedToken => secrets::marked_token,
            Self::Jwt => secrets::jwt,
            Self::Opaque => secrets::opaque,
            Self::MixedOpaque => secrets::mixed_opaque,
            Self::VendorToken => secrets::vendor_token,
            Self::Password => secrets::password,
            Self::PasswordOrWord => secrets::password_or_word,
            Self::CredentialWord => secrets::credential_word,
            Self::CredentialToken => secrets::credential_token,
            Self::ChosenPassword => secrets::chosen_password,
            Self::PasswordWithSigns => secrets::password_with_signs,
            Self::Login => secrets::login,
            Self::NotTemplate => secrets::not_template,
            Self::UrlPassword => secrets::url_password,
        }
    }
}
