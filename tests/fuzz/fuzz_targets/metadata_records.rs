//! Records of the metadata log, one a line, as a damaged or foreign disk may hold them: each is refused or makes a
//! consistent image, and what was taken in is written and read back as it was. The same bytes as a snapshot, too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_controller::{Image, Record, snapshot};
use ottla_fuzz as _;

const RECORDS_MAX: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let mut image = Image::default();
    for line in bytes.split(|byte| *byte == b'\n').take(RECORDS_MAX) {
        let record = match Record::decode(line) {
            Ok(record) => record,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        let written = record.encode().expect("what was read can be written");
        assert_eq!(Record::decode(&written).as_ref(), Ok(&record));
        if let Ok(next) = image.apply([&record]) {
            image = next;
        }
        assert_eq!(image.check(), Ok(()), "after {record:?}");
    }
    let written = snapshot::encode(&image).expect("a small image fits");
    assert_eq!(snapshot::decode(&written).as_ref(), Ok(&image));

    if let Ok(image) = snapshot::decode(bytes) {
        assert_eq!(image.check(), Ok(()));
    }
});
