//! Are settings understood, refused and documented as the table says?

use super::*;
use crate::mock::script::Script;
use crate::mock::settings::{SETTINGS, duration};
use crate::mock::text::{Share, pieces};
use proptest::prelude::*;

#[test]
fn every_setting_is_in_the_documentation() {
    let documentation = include_str!("../mod.rs");
    for setting in SETTINGS {
        let row = format!("//! | `{}` | {} |", setting.form.replace('|', "\\|"), setting.meaning);
        assert!(documentation.contains(&row), "no line {row}");
    }
    let rows = documentation.split("| setting |").nth(1).unwrap().matches("//! | `").count();
    assert_eq!(rows, SETTINGS.len());
}

#[test]
fn every_form_in_the_table_is_understood_and_has_an_effect() {
    for setting in SETTINGS {
        let form = setting.form.split('|').next().unwrap();
        // `lane=content` and `chunk=…` differ from the default too: unset is none.
        assert_ne!(form.parse::<Script>().unwrap(), Script::default(), "{form}");
        assert!(form.starts_with(setting.name));
    }
}

#[test]
fn the_spellings_agree() {
    let expected: Script = "status=429+retry_after=2+reset=body:5+usage=1/2+delay=1.5s".parse().unwrap();
    for model in [
        "mock+status=429+retry_after=2+reset=body:5+usage=1/2+delay=1500",
        "mock:status=429+retry_after=2+reset=body:5+usage=1/2+delay=1500ms",
        "mock@status:429@retry_after:2@reset:body:5@usage:1/2@delay:1.5s",
        "mock-echo@status:429@retry_after:2@reset:body:5@usage:1/2@delay:1500000us",
        r#"mock:{"status":429,"retry_after":2,"reset":"body:5","usage":"1/2","delay":"1.5s"}"#,
    ] {
        let mut script = Script::default();
        script.follow_model(model).unwrap();
        assert_eq!(script, expected, "{model}");
    }
    let mut script = Script::default();
    script.follow_header("Retry-After", "2").unwrap();
    script.follow_header("script", "status=429+reset=body:5+usage=1/2+delay=1.5s").unwrap();
    assert_eq!(script, expected);
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    for (settings, part) in [
        ("chunks=3", "unknown setting `chunks`: use one of `status`"),
        ("status=200", "setting `status` cannot be `200`: write `status=429`"),
        ("status=304", "`304`"),
        ("chunk=0", "write `chunk=3` for characters per delta"),
        ("delay=61m", "`delay=20ms`"),
        ("delay=-1s", "`delay=20ms`"),
        ("answer=%zz", "`answer=hello%20there`"),
        ("crlf=perhaps", "`crlf`"),
        ("count=100001", "`count=64`"),
        ("bytes=67108865", "`bytes=1024`"),
        ("{\"status\":[]}", "is not a JSON object"),
        ("{", "is not a JSON object"),
    ] {
        let message = settings.parse::<Script>().unwrap_err().to_string();
        assert!(message.contains(part), "{settings}: {message}");
    }
}

#[test]
fn a_foreign_model_name_carries_no_settings() {
    for model in ["gpt-4o", "ft:gpt-4o:org+status=500", "mock", "mock-echo", "a+status=500"] {
        let mut script = Script::default();
        script.follow_model(model).unwrap();
        assert_eq!(script, Script::default(), "{model}");
    }
}

#[test]
fn durations_have_units() {
    assert_eq!(duration("20ms"), Some(Duration::from_millis(20)));
    assert_eq!(duration("20"), Some(Duration::from_millis(20)));
    assert_eq!(duration("0.5m"), Some(Duration::from_secs(30)));
    assert_eq!(duration("60m"), Some(Duration::from_hours(1)));
    for wrong in ["", "ms", "1h", "nan", "inf", "61m", "-1"] {
        assert_eq!(duration(wrong), None, "{wrong}");
    }
}

#[test]
fn the_command_line_is_understood() {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: MockOptions,
    }
    let parse = |line: &[&str]| <Line as clap::Parser>::try_parse_from(line).map(|line| line.options);
    let plain = parse(&["mock"]).unwrap();
    assert_eq!(format!("{plain:?}"), format!("{:?}", MockOptions::default()));
    let line =
        ["mock", "--delay", "20ms", "--script", "status=503", "--record", "false", "--answer-bytes", "9"];
    let set = parse(&line).unwrap();
    assert_eq!(set.delay, Some(Duration::from_millis(20)));
    assert_eq!(set.script.unwrap().status, Some(503));
    assert_eq!((set.record, set.answer_bytes), (false, Some(9)));
    for wrong in [["--delay", "soon"], ["--script", "chunks=1"], ["--answer-bytes", "67108865"]] {
        assert!(parse(&["mock", wrong[0], wrong[1]]).is_err(), "{wrong:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_joined_are_the_text(
        text in "\\PC{0,60}", size in 1..9_usize, by_count: bool, most in 1..30_usize,
    ) {
        let size = size.try_into().unwrap();
        let share = if by_count { Share::Deltas(size) } else { Share::Characters(size) };
        let pieces = pieces(&text, share, most);
        prop_assert_eq!(pieces.concat(), text.clone());
        prop_assert!(pieces.len() <= most);
        let characters = text.chars().count();
        if by_count {
            prop_assert_eq!(pieces.len(), size.get().min(characters).min(most));
        } else if characters.div_ceil(size.get()) <= most {
            prop_assert!(pieces.iter().all(|piece| piece.chars().count() <= size.get()));
        }
    }

    #[test]
    fn however_it_is_cut_the_caller_reads_the_same(
        text in "\\PC{0,40}", chunk in 1..7_usize, cut in 1..40_usize,
        crlf: bool, comments: bool, immediate: bool,
    ) {
        let mut model = format!("mock+chunk={chunk}+cut={cut}+crlf={crlf}+comments={comments}");
        if immediate {
            model.push_str("+delay=0ms");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let raw = runtime.block_on(async { post(echo().await, CHAT, &streamed(&model, &text)).await });
        prop_assert_eq!(raw.joined("/choices/0/delta/content"), text);
        let (chunks, complete) = raw.chunks();
        prop_assert!(complete);
        let (last, others) = chunks.split_last().unwrap();
        prop_assert!(others.iter().all(|chunk| chunk.len() == cut) && last.len() <= cut);
    }
}
