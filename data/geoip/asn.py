"""Makes asn.mmdb from the two CSV files of the npm package @ip-location-db/asn.

    npm pack @ip-location-db/asn@2.3.2026061719 && tar xzf ip-location-db-asn-*.tgz
    pip install mmdb-writer==0.2.7
    python asn.py package asn.mmdb

The same input makes the same bytes: the date is the input's. Names are cut at 64 characters.
"""

import csv
import ipaddress
import sys

import mmdb_writer
import netaddr

# 2026-06-17T00:00:00Z, the date of the package.
mmdb_writer.time.time = lambda: 1781654400
NAME_CHARACTERS_MAX = 64


def main(folder, out):
    database = mmdb_writer.MMDBWriter(
        ip_version=6,
        ipv4_compatible=True,
        languages=["en"],
        database_type="Palisade-ASN",
        description="@ip-location-db/asn 2.3.2026061719, by RouteViews, NRO and DB-IP.com, CC BY 4.0",
        int_type="u32",
    )
    for name in ("asn-ipv4.csv", "asn-ipv6.csv"):
        with open(f"{folder}/{name}", encoding="utf-8", newline="") as rows:
            for first, last, number, organization in csv.reader(rows):
                ends = ipaddress.ip_address(first), ipaddress.ip_address(last)
                networks = [str(network) for network in ipaddress.summarize_address_range(*ends)]
                row = {
                    "autonomous_system_number": int(number),
                    "autonomous_system_organization": organization[:NAME_CHARACTERS_MAX],
                }
                database.insert_network(netaddr.IPSet(networks), row)
    database.to_db_file(out)


main(*sys.argv[1:])
