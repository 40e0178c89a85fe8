#![allow(clippy::unwrap_used)]

use super::*;

fn line(text: &str) -> CommandLine {
    CommandLine::parse(text.as_bytes()).unwrap()
}

fn hash() -> RootHash {
    let mut head = [0; RootHash::END];
    head[RootHash::START..].fill(b'7');
    RootHash::of_kernel(&head).unwrap()
}

fn expanded(text: &str, slot: Letter) -> Result<String, CommandLineError> {
    line(text).expand(slot, Guid::FLATCAR_USR_B, None)
}

const B: &str = "e03dd35c-7c2d-4a47-b3fe-27f15780a57c";

#[test]
fn the_slots_values_stand_where_the_builder_put_places() {
    let text = "# serial first\r\nconsole=ttyS0\n\n  usr=PARTUUID=@PARTUUID@ initrd=\\initrd-@SLOT@\n";
    assert_eq!(
        expanded(text, Letter::B).unwrap(),
        std::format!("console=ttyS0 usr=PARTUUID={B} initrd=\\initrd-b")
    );
}

#[test]
fn a_carriage_return_ends_a_line_wherever_it_stands() {
    for text in [
        "quiet\rro",
        "quiet\r\nro",
        "quiet \r\r\n\rro\r",
        "quiet\r# no\nro",
    ] {
        assert_eq!(line(text), line("quiet\nro"), "{text:?}");
    }
}

#[test]
fn a_line_that_names_no_slot_gets_the_partition_at_its_end() {
    assert_eq!(
        expanded("quiet", Letter::A).unwrap(),
        std::format!("quiet mount.usr=PARTUUID={B}")
    );
    assert_eq!(
        CommandLine::default()
            .expand(Letter::B, Guid::FLATCAR_USR_B, None)
            .unwrap(),
        std::format!("mount.usr=PARTUUID={B}")
    );
}

#[test]
fn a_root_hash_comes_from_the_kernel_or_the_slot_is_not_started() {
    let text = "verity.usr=PARTUUID=@PARTUUID@ verity.usrhash=@USRHASH@";
    assert_eq!(expanded(text, Letter::A), Err(CommandLineError::NoRootHash));
    let with_hash = line(text).expand(Letter::A, Guid::FLATCAR_USR_A, Some(hash()));
    assert!(with_hash.unwrap().ends_with(&"7".repeat(64)));
}

#[test]
fn only_64_hexadecimal_digits_are_a_root_hash() {
    let mut head = std::vec![b'a'; RootHash::END];
    assert!(RootHash::of_kernel(&head).is_some());
    assert_eq!(RootHash::of_kernel(&head[..RootHash::END - 1]), None);
    head[RootHash::END - 1] = b'g';
    assert_eq!(RootHash::of_kernel(&head), None);
}

#[test]
fn a_file_that_is_no_text_is_refused_by_the_byte() {
    assert_eq!(
        CommandLine::parse(b"quiet\0"),
        Err(CommandLineError::NotText { offset: 5, value: 0 })
    );
}

#[test]
fn a_line_longer_than_kernels_take_is_refused() {
    let most = "x".repeat(CommandLine::LIMIT);
    assert!(CommandLine::parse(most.as_bytes()).is_ok());
    assert_eq!(expanded(&most, Letter::A), Err(CommandLineError::TooLong));
    assert_eq!(
        CommandLine::parse(std::format!("{most}x").as_bytes()),
        Err(CommandLineError::TooLong)
    );
}
