//! Is what was kept what is found, by whom it is of, and by nobody else?

use super::*;
use palisade_control::follow::Pieces;
use palisade_filters::secret::Secret;

fn owner(name: &str) -> Owner {
    Owner::Organisation(OrganisationId::new(name).unwrap())
}

fn there(secret: &str) -> Reading {
    Reading::There(Pieces { resources: Vec::new(), hash_secret: Some(Secret::new(secret.to_owned())) })
}

fn secret(reading: &Reading) -> Option<String> {
    let Reading::There(pieces) = reading else { return None };
    pieces.hash_secret.as_ref().map(|secret| secret.expose().to_owned())
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + std::time::Duration::from_secs(seconds)
}

/// Writes all that is noted.
fn flush(kept: &Kept, whole: Option<u64>, at: SystemTime) {
    kept.flush(whole, at).unwrap();
    while kept.pending() > 0 {
        kept.flush(whole, at).unwrap();
    }
}

#[test]
fn much_is_written_in_turns_and_means_something_with_the_last() {
    let room = tempfile::tempdir().unwrap();
    let kept = Kept::new(room.path(), b"the key of this proxy");
    kept.begin(b"the key of this proxy").unwrap();
    let named = |round: &str| -> Vec<_> {
        let names = (0..300).map(|at| format!("org-{at}"));
        names.map(|name| (owner(&name), there(&format!("{round} of {name}")))).collect()
    };
    kept.note(&named("first"));
    let mut turns = 0;
    while kept.pending() > 0 {
        assert!(matches!(kept.recall(), Err(Unusable::Nothing)), "it is not whole yet");
        kept.flush(Some(7), at(1)).unwrap();
        turns += 1;
    }
    assert!(turns > 10, "{turns} turns");
    kept.note(&named("second"));
    kept.flush(Some(9), at(2)).unwrap();
    let mut recalled = Kept::new(room.path(), b"the key of this proxy").recall().unwrap();
    assert_eq!(
        recalled.place,
        Place { position: 7, heard: 1 },
        "who goes on from there hears of the rest again"
    );
    let asked = (0..300).map(|at| owner(&format!("org-{at}"))).collect();
    let found: Vec<_> = recalled.take(&asked).unwrap().iter().map(|(_, reading)| secret(reading)).collect();
    let of = |round: &str| found.iter().flatten().filter(|secret| secret.starts_with(round)).count();
    assert!(of("first") > 0 && of("second") > 0 && of("first") + of("second") == 300);
}

#[test]
fn what_was_kept_is_what_is_found_by_the_same_proxy_alone() {
    let room = tempfile::tempdir().unwrap();
    let kept = Kept::new(room.path(), b"the key of this proxy");
    assert!(matches!(kept.recall(), Err(Unusable::Nothing)));
    kept.begin(b"the key of this proxy").unwrap();
    let names: Vec<String> = (0..600).map(|at| format!("org-{at}")).collect();
    let readings: Vec<_> = names.iter().map(|name| (owner(name), there(name))).collect();
    kept.note(&readings);
    flush(&kept, None, at(1));
    assert!(matches!(kept.recall(), Err(Unusable::Nothing)), "it is not whole yet");
    kept.note(&[
        (owner("org-7"), Reading::Gone),
        (owner("org-8"), Reading::Lost("its key is gone".to_owned())),
        (owner("org-9"), Reading::Unread("it is broken".to_owned())),
    ]);
    assert_eq!(kept.pending(), 2);
    kept.flush(Some(42), at(7)).unwrap();
    assert_eq!(kept.pending(), 0);
    let again = Kept::new(room.path(), b"the key of this proxy");
    let mut recalled = again.recall().unwrap();
    assert_eq!(recalled.place, Place { position: 42, heard: 7 });
    let all = recalled.organisations(None);
    assert_eq!(all.len(), 598);
    assert_eq!(recalled.organisations(all.last()), []);
    let asked = ["org-7", "org-8", "org-9", "org-10"].map(owner);
    let read = recalled.take(&asked.into_iter().collect()).unwrap();
    let found: BTreeMap<String, Option<String>> =
        read.iter().map(|(owner, reading)| (wire::owner_name(owner), secret(reading))).collect();
    assert_eq!(found["org-7"], None);
    assert_eq!(found["org-8"], None);
    assert_eq!(found["org-9"].as_deref(), Some("org-9"), "its last good state");
    assert_eq!(found["org-10"].as_deref(), Some("org-10"));
    let other = Kept::new(room.path(), b"the key of another one");
    assert!(matches!(other.recall(), Err(Unusable::Foreign(_))));
    again.forget().unwrap();
    assert!(matches!(again.recall(), Err(Unusable::Nothing)));
}

#[test]
fn whatever_is_changed_is_noticed() {
    let room = tempfile::tempdir().unwrap();
    let kept = Kept::new(room.path(), b"the key of this proxy");
    let files = || {
        let all = std::fs::read_dir(&kept.folder).unwrap().map(|file| file.unwrap().path());
        all.filter(|path| !path.ends_with(LOCK)).collect::<BTreeSet<_>>()
    };
    kept.begin(b"the key of this proxy").unwrap();
    kept.note(&[(owner("acme"), there("secret")), (owner("beta"), there("other"))]);
    kept.flush(Some(1), at(0)).unwrap();
    let before: BTreeMap<_, _> =
        files().into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    for path in before.keys() {
        let whole = std::fs::read(path).unwrap();
        for word in [&b"position"[..], b"secret", b"acme"] {
            assert!(!whole.windows(word.len()).any(|part| part == word));
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(path, &changed).unwrap();
            assert!(matches!(kept.recall(), Err(Unusable::Foreign(_))), "byte {at}");
            std::fs::write(path, &whole[..at]).unwrap();
            assert!(matches!(kept.recall(), Err(Unusable::Foreign(_))), "cut at {at}");
        }
        std::fs::write(path, &whole).unwrap();
    }
    assert!(kept.recall().is_ok());
    assert_eq!(before.len(), 3);
    // One that is taken away, or in the place of another one.
    for path in before.keys().filter(|path| !path.ends_with(POSITION)) {
        std::fs::remove_file(path).unwrap();
        assert!(matches!(kept.recall(), Err(Unusable::Foreign(_))));
        for (_, other) in before.iter().filter(|(other, _)| *other != path) {
            std::fs::write(path, other).unwrap();
            assert!(matches!(kept.recall(), Err(Unusable::Foreign(_))));
        }
        std::fs::write(path, &before[path]).unwrap();
    }
    // One of before beside those of now is not meant, and goes.
    kept.note(&[(owner("acme"), Reading::Gone)]);
    kept.flush(Some(2), at(0)).unwrap();
    for (path, text) in before.iter().filter(|(path, _)| !path.ends_with(POSITION)) {
        std::fs::write(path, text).unwrap();
    }
    assert_eq!(kept.recall().unwrap().organisations(None).len(), 1);
    kept.flush(Some(3), at(0)).unwrap();
    assert_eq!(files().len(), 3, "an empty file, one of beta, and the position");
}

#[test]
fn what_another_process_began_is_not_gone_on_with() {
    let room = tempfile::tempdir().unwrap();
    let [first, second] = [(); 2].map(|()| Kept::new(room.path(), b"key"));
    first.begin(b"key").unwrap();
    first.note(&[(owner("acme"), there("secret"))]);
    first.flush(Some(1), at(0)).unwrap();
    // It takes over, and both go on for a while.
    second.recall().unwrap();
    second.note(&[(owner("beta"), there("other"))]);
    second.flush(Some(2), at(0)).unwrap();
    first.note(&[(owner("gamma"), there("third"))]);
    first.flush(Some(3), at(0)).unwrap();
    assert_eq!(second.recall().unwrap().organisations(None).len(), 3);
    // One of them reads all anew: what the other had read is not added to that.
    second.begin(b"key").unwrap();
    second.note(&[(owner("beta"), there("other"))]);
    second.flush(Some(4), at(0)).unwrap();
    first.note(&[(owner("acme"), there("secret"))]);
    assert!(matches!(first.flush(Some(5), at(0)), Err(Unusable::Replaced(_))));
    assert_eq!(second.recall().unwrap().organisations(None).len(), 1);
    second.forget().unwrap();
    assert!(matches!(second.flush(Some(6), at(0)), Err(Unusable::Replaced(_))));
}

#[test]
fn what_cannot_be_written_is_written_later() {
    let room = tempfile::tempdir().unwrap();
    let kept = Kept::new(room.path(), b"the key of this proxy");
    kept.begin(b"the key of this proxy").unwrap();
    std::fs::remove_dir_all(room.path().join(FOLDER)).unwrap();
    // A file where the folder is to be.
    std::fs::write(room.path().join(FOLDER), "").unwrap();
    kept.note(&[(owner("acme"), there("secret"))]);
    assert!(matches!(kept.flush(Some(1), at(0)), Err(Unusable::Io(..))));
    assert_eq!(kept.pending(), 1);
    std::fs::remove_file(room.path().join(FOLDER)).unwrap();
    kept.flush(Some(2), at(0)).unwrap();
    assert_eq!(kept.recall().unwrap().place.position, 2);
}

/// Made by another implementation: what proxies kept already has this form.
#[test]
fn what_was_kept_before_still_opens() {
    let digits = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f8c67e6ab8a072558883f3a30ef2e0ed0548e";
    let digits = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let sealed: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    let kept = Kept::new(Path::new("nowhere"), &[9; 40]);
    let state = kept.state.lock();
    assert_eq!(kept.open(&state, "17", "17", &sealed).unwrap().as_slice(), b"{}");
    assert!(matches!(kept.open(&state, "18", "18", &sealed), Err(Unusable::Foreign(_))), "another file's");
}
