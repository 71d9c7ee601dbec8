//! What holds for every filter file: no key of its list is missed, few others are found, and no damage is dangerous.

use super::base::Base;
use super::build::{self, BuildError, Seen};
use super::layout::{self, About};
use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;
use xorf::{BinaryFuse8, BinaryFuse16, Filter};

/// A number that looks random, and the same in every run.
fn scrambled(number: u64) -> u64 {
    let mut state = number;
    xorf::splitmix64(&mut state)
}

/// A list whose n-th key was seen as often as its bucket says, all buckets alike.
fn list(keys: u64) -> Vec<Seen> {
    let count = |number: u64| Bucket::ALL[(number % 5) as usize].least() as u32;
    let mut seen: Vec<Seen> =
        (0..keys).map(|number| Seen { key: Key(scrambled(number)), count: count(number) }).collect();
    seen.sort_unstable();
    seen
}

fn file(seen: &[Seen], shard_bits: u8) -> Vec<u8> {
    let mut about = About { source: "test".to_owned(), built_s: 86_400, keys: [0; 5] };
    let (mut sections, mut bytes) = (Vec::new(), Vec::new());
    for shard in 0..1usize << shard_bits {
        let of_shard: Vec<Seen> =
            seen.iter().copied().filter(|seen| seen.key.shard(shard_bits) == shard).collect();
        let built = build::shard(&of_shard).unwrap();
        for (sum, section) in about.keys.iter_mut().zip(&built.sections) {
            *sum += u64::from(section.keys());
        }
        sections.push(built.sections);
        bytes.extend(built.bytes);
    }
    [layout::write_head(&about, shard_bits, &sections), bytes].concat()
}

fn base(seen: &[Seen], shard_bits: u8) -> Base {
    Base::open(Bytes::from(file(seen, shard_bits))).unwrap()
}

static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| file(&list(500), 2));

#[test]
fn every_key_is_found_in_its_bucket_or_rarely_in_the_next() {
    for (keys, shard_bits) in [(1, 0), (2, 0), (5, 1), (300, 4), (20_000, 0), (60_000, 3)] {
        let seen = list(keys);
        let base = base(&seen, shard_bits);
        let mut higher = 0;
        for one in &seen {
            let found = base.ask(one.key).unwrap().least();
            assert!(found >= u64::from(one.count), "{one:?} was found as {found}");
            higher += u64::from(found > u64::from(one.count));
        }
        // One in 256 for each of the four buckets that have a next one.
        assert!(higher <= 4 + keys / 150, "{higher} of {keys}");
        assert_eq!(base.about().keys[0], keys);
    }
}

#[test]
fn few_others_are_found_and_hardly_any_as_common() {
    let base = base(&list(50_000), 0);
    let asked = 2_000_000;
    let found: Vec<Bucket> =
        (0..asked).filter_map(|number| base.ask(Key(scrambled(u64::MAX / 2 + number)))).collect();
    // 30.5 are expected; seven standard deviations more are not.
    assert!((5..70).contains(&found.len()), "{} of {asked}", found.len());
    assert!(found.iter().filter(|bucket| **bucket >= Bucket::Tens).count() <= 1);
}

#[test]
fn it_answers_as_the_library_that_built_it() {
    let keys: Vec<u64> = (0..30_000).map(scrambled).collect();
    let seen: Vec<Seen> = {
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        sorted.into_iter().map(|key| Seen { key: Key(key), count: 2 }).collect()
    };
    let sorted: Vec<u64> = seen.iter().map(|seen| seen.key.0).collect();
    let (wide, narrow) = (BinaryFuse16::try_from(&sorted).unwrap(), BinaryFuse8::try_from(&sorted).unwrap());
    let base = base(&seen, 0);
    for key in keys.into_iter().chain((0..1_000_000).map(|number| scrambled(number + (1 << 40)))) {
        let expected = match (wide.contains(&key), narrow.contains(&key)) {
            (false, _) => None,
            (true, false) => Some(Bucket::Once),
            (true, true) => Some(Bucket::Few),
        };
        assert_eq!(base.ask(Key(key)), expected);
    }
}

#[test]
fn keys_that_are_not_sorted_or_not_unique_are_refused() {
    let seen =
        |keys: &[u64]| -> Vec<Seen> { keys.iter().map(|key| Seen { key: Key(*key), count: 1 }).collect() };
    assert_eq!(build::shard(&seen(&[2, 1])).unwrap_err(), BuildError::Unsorted);
    assert_eq!(build::shard(&seen(&[1, 1])).unwrap_err(), BuildError::Unsorted);
    assert!(build::shard(&[]).unwrap().bytes.is_empty());
    assert_eq!([0, 999_999, 2_000_000, 100_000_000, u64::MAX].map(build::shard_bits), [0, 0, 1, 6, 16]);
}

#[test]
fn each_kind_of_damage_is_told_apart() {
    let open = |file: Vec<u8>| Base::open(Bytes::from(file)).map(|_| ()).unwrap_err();
    let with = |at: usize, byte: u8| {
        let mut file = SMALL.clone();
        file[at] ^= byte;
        file
    };
    assert_eq!(open(Vec::new()), Unusable::Foreign);
    assert_eq!(open(with(0, 1)), Unusable::Foreign);
    assert_eq!(open(with(8, 2)), Unusable::Version(3));
    let length = SMALL.len() as u64;
    let cut = Unusable::Length { there: length - 1, expected: length };
    assert_eq!(open(SMALL[..SMALL.len() - 1].to_vec()), cut);
    assert_eq!(open(with(40, 1)), Unusable::Head);
    assert_eq!(open(with(SMALL.len() - 1, 1)), Unusable::Shard { shard: 3 });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whoever writes a file can make its checksums agree, so they protect from accidents only: bounds must hold alone.
    #[test]
    fn no_damage_makes_a_question_leave_the_file(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
        asked in prop::collection::vec(any::<u64>(), 50),
    ) {
        let mut file = SMALL.clone();
        let head = layout::head_bytes("test", 2);
        for (at, byte) in damage {
            let at = at.index(head - 4);
            file[at] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        if file.len() >= head {
            let crc = crc32fast::hash(&file[..head - 4]);
            file[head - 4..head].copy_from_slice(&crc.to_le_bytes());
            let length = file.len() as u64;
            if file[16..24] != length.to_le_bytes() && cut.is_some() {
                file[16..24].copy_from_slice(&length.to_le_bytes());
                let crc = crc32fast::hash(&file[..head - 4]);
                file[head - 4..head].copy_from_slice(&crc.to_le_bytes());
            }
        }
        if let Ok(base) = Base::open(Bytes::from(file)) {
            for key in asked {
                let _ = base.ask(Key(key));
            }
        }
    }

    #[test]
    fn noise_is_no_filter(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let file = [layout::MAGIC.as_slice(), &layout::VERSION.to_le_bytes(), &bytes].concat();
        prop_assert!(Base::open(Bytes::from(file)).is_err());
    }
}

#[test]
fn the_shipped_list_is_the_one_that_was_reviewed() {
    use sha2::Digest as _;
    let sha256 = crate::api_key::hex(&sha2::Sha256::digest(SHIPPED));
    let readme = include_str!("../../../data/README.md");
    assert!(readme.contains(&sha256), "data/README.md does not name {sha256}");
    let shipped = shipped().unwrap();
    shipped.verify().unwrap();
    assert_eq!(shipped.about().keys[0], 55_860);
    for known in ["123456", "password", "qwerty", "letmein", "hunter2", "trustno1", "iloveyou"] {
        assert!(shipped.ask(Key::of(known.as_bytes())) >= Some(Bucket::Tens), "{known}");
    }
    for unknown in ["q7Gx2LwPz9Rt4VmK8sYb", "correct horse battery staple", ""] {
        assert_eq!(shipped.ask(Key::of(unknown.as_bytes())), None, "{unknown}");
    }
}

#[test]
fn reports_outweigh_the_list_and_are_exact() {
    let delta: Delta = (0..10_000).map(|number| Key(scrambled(number))).collect();
    assert_eq!(delta.len(), 10_000);
    assert!((0..10_000).all(|number| delta.holds(Key(scrambled(number)))));
    let found =
        (1 << 40..(1 << 40) + 1_000_000).filter(|number| delta.holds(Key(scrambled(*number)))).count();
    assert!(found <= 3, "{found} of a million");
    assert!(!Delta::default().holds(Key(0)) && Delta::default().is_empty());
    let reported: Delta = [Key::of(b"123456")].into_iter().collect();
    let intelligence = Intelligence::new(Some(shipped().unwrap()), reported);
    assert_eq!(intelligence.ask(b"123456"), Some(Known::Reported));
    assert_eq!(intelligence.ask(b"password"), Some(Known::Listed(Bucket::Thousands)));
}

#[test]
fn a_candidate_is_asked_as_it_is_and_without_what_came_along() {
    let reported: Delta =
        ["hunter2", "Wow!", "[PASSWORD]"].map(|text| Key::of(text.as_bytes())).into_iter().collect();
    let intelligence = Intelligence::new(None, reported);
    let known = |value: &str, form| weigh(&intelligence, value.as_bytes(), form).0.is_some();
    for value in
        ["hunter2", "'hunter2'", " hunter2 ", "hunter2.", "\"hunter2\",", "hunter2!)", "Wow!", "`Wow!`"]
    {
        assert!(known(value, CredentialForm::Plain), "{value}");
    }
    for value in ["hunter", "Wow", "Hunter2", "[PASSWORD]", "\"[PASSWORD]\"", "x[PASSWORD]y", "", "abc"] {
        assert!(!known(value, CredentialForm::Plain), "{value}");
    }
    assert!(known("joe:hunter2", CredentialForm::Login) && known(":hunter2", CredentialForm::Login));
    assert!(!known("hunter2:joe", CredentialForm::Login) && !known("hunter2", CredentialForm::Login));
    assert!(
        known("am9lOmh1bnRlcjI=", CredentialForm::Basic) && known("am9lOmh1bnRlcjI", CredentialForm::Basic)
    );
    assert!(
        !known("am9lOmh1bnRlcjM=", CredentialForm::Basic) && !known("joe:hunter2", CredentialForm::Basic)
    );
    assert!(!known("hunter2", CredentialForm::None));
}

#[test]
fn what_is_rare_counts_only_if_it_is_no_word() {
    let counted = |text: &str, count| Seen { key: Key::of(text.as_bytes()), count };
    let mut seen = vec![
        counted("documentation", 3),
        counted("Zx81-spectrum", 1),
        counted("dragonfly", 10),
        counted("12345678901", 9),
    ];
    seen.sort_unstable();
    let intelligence = Intelligence::new(Some(base(&seen, 0)), Delta::default());
    let weighed = |text: &str| weigh(&intelligence, text.as_bytes(), CredentialForm::Plain);
    assert!(matches!(weighed("documentation"), (Some(_), 0.0)));
    assert!(matches!(weighed("12345678901"), (Some(_), 0.0)));
    assert!(weighed("Zx81-spectrum").1 > 0.5 && weighed("dragonfly").1 > 0.5);
    assert_eq!(weighed("unheard-of-2"), (None, 0.0));
}

#[test]
fn buckets_have_one_name_everywhere() {
    let names = Bucket::ALL.map(|bucket| Known::Listed(bucket).name());
    assert_eq!(names, ["1", "2-9", "10-99", "100-999", "1000+"]);
    assert_eq!(Bucket::beginning_with(100), Some(Bucket::Hundreds));
    assert_eq!(Bucket::beginning_with(99), None);
    assert!(Some(Known::Listed(Bucket::Once)) > None && Known::Reported > Known::Listed(Bucket::Thousands));
}

#[test]
fn a_report_of_few_refuses_nobody_else() {
    for reported in 1_u32..4 {
        let delta: Delta = (0..reported).map(|at| Key::of(&at.to_le_bytes())).collect();
        let others = (100..100_000_u32).filter(|at| delta.holds(Key::of(&at.to_le_bytes()))).count();
        assert_eq!(others, 0, "{others} keys are taken for one of {reported}");
    }
}
