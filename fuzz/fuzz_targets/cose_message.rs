//! COSE messages of every suite: what is accepted is what we would write.
#![no_main]

use alcub3_command_authority::cose::{Message, Unsigned};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(message) = Message::parse("a message", data) else {
        return;
    };
    let again = Unsigned::new(message.suite(), message.payload().to_vec());
    assert_eq!(again.to_be_signed(), message.signed_parts().concat());
    assert_eq!(
        again
            .finish(message.signature().to_vec())
            .expect("the signature has its length"),
        data
    );
});
