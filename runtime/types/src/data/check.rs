//! Checks JSON text as strictly as reading it would, without building a tree.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::limits::JSON_VALUES_MAX;

/// Reads any JSON document through and throws it away.
///
/// Unlike `serde::de::IgnoredAny` it decodes strings and numbers, so that a lone
/// surrogate or a number beyond all ranges is an error here and not a surprise later.
/// Counts values and keys: in memory each takes far more than its text.
pub(super) struct Sound<'c>(pub(super) &'c mut usize);

impl Sound<'_> {
    fn count<E: Error>(self) -> Result<(), E> {
        *self.0 += 1;
        if *self.0 > JSON_VALUES_MAX {
            return Err(E::custom(format_args!(
                "more than {JSON_VALUES_MAX} values and keys in one document"
            )));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Sound<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sound<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.count()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.count()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.count()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.count()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.count()
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.count()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let values = self.0;
        Sound(&mut *values).count()?;
        while seq.next_element_seed(Sound(&mut *values))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let values = self.0;
        Sound(&mut *values).count()?;
        while map.next_key_seed(Sound(&mut *values))?.is_some() {
            map.next_value_seed(Sound(&mut *values))?;
        }
        Ok(())
    }
}
