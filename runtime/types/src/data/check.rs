//! Checks JSON text as strictly as reading it would, without building a tree.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Any JSON document, read through and thrown away.
///
/// Unlike `serde::de::IgnoredAny` it decodes strings and numbers, so that a lone
/// surrogate or a number beyond all ranges is an error here and not a surprise later.
pub(super) struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Sound, D::Error> {
        d.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Sound;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_str<E>(self, _: &str) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_unit<E>(self) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Sound, A::Error> {
        while seq.next_element::<Sound>()?.is_some() {}
        Ok(Sound)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sound, A::Error> {
        while map.next_entry::<Sound, Sound>()?.is_some() {}
        Ok(Sound)
    }
}

#[cfg(test)]
mod tests {
    use crate::Data;

    #[test]
    fn what_cannot_be_read_later_is_refused_now() {
        let check = |text: &str, sound: bool| {
            assert_eq!(Data::parse(text).is_ok(), sound, "{text}");
        };
        check(
            r#"{"a":[1,-2,3.5,18446744073709551615,null,true,"x"]}"#,
            true,
        );
        check(r#"{"a":"\ud83d\ude00"}"#, true);
        check(r#"{"a":"\ud800"}"#, false);
        check(r#"{"\udc00":1}"#, false);
        check(r#"{"a":1e400}"#, false);
        check("{} {}", false);
        check(&"[".repeat(10_000), false);
        check(&format!("{}1{}", "[".repeat(127), "]".repeat(127)), true);
        check(&format!("{}1{}", "[".repeat(128), "]".repeat(128)), false);
    }
}
