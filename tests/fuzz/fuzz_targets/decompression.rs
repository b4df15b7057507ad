//! Compressed records: the first byte chooses the codec, the rest is the input. The output never exceeds its limit, and
//! what was compressed here comes back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_fuzz as _;
use ottla_model::batch::{Compression, Limit, compress, decompress};

const LIMIT: Limit = Limit { bytes_max: 4 << 20, ratio_max: 64 };

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, input)) = bytes.split_first() else { return };
    let codec = Compression::ALL[usize::from(*choice) % Compression::ALL.len()];
    let mut output = Vec::new();
    let _ = decompress(codec, input, LIMIT, &mut output);
    assert!(output.len() <= LIMIT.allowed(input.len()), "{} bytes of {}", output.len(), input.len());

    let (mut compressed, mut back) = (Vec::new(), Vec::new());
    compress(codec, None, input, &mut compressed).expect("any bytes can be compressed");
    decompress(codec, &compressed, Limit::default(), &mut back).expect("our own output can be read");
    assert!(back == input);
});
