//! An object's bytes, unpacked if they are gzip: told by what they begin with, as no text does.
//!
//! Refuses to hold what is unpacked, and other ways to pack.

use std::io::{BufReader, Read, Seek, SeekFrom};

use flate2::bufread::MultiGzDecoder;

/// Bytes of a packed file read at a time.
const PACKED_BYTES: usize = 32 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

pub(super) enum Source<R> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
}

impl<R: Read + Seek> Source<R> {
    /// From the first byte.
    pub(super) fn open(mut bytes: R) -> Result<Source<R>, String> {
        let mut head = Vec::new();
        let begin = |bytes: &mut R| bytes.seek(SeekFrom::Start(0));
        begin(&mut bytes).map_err(|e| e.to_string())?;
        let read = bytes.by_ref().take(4).read_to_end(&mut head);
        read.and_then(|_| begin(&mut bytes))
            .map_err(|e| e.to_string())?;
        if head == ZSTD {
            return Err("it is packed with zstd; pack it with gzip, or not at all".to_owned());
        }
        if !head.starts_with(&GZIP) {
            return Ok(Source::Plain(bytes));
        }
        let packed = BufReader::with_capacity(PACKED_BYTES, bytes);
        Ok(Source::Gzip(Box::new(MultiGzDecoder::new(packed))))
    }

    /// Whether any place can be gone to at once.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Source::Plain(_))
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Source::Plain(bytes) => bytes.read(into),
            Source::Gzip(bytes) => bytes.read(into),
        }
    }
}

impl<R: Seek> Seek for Source<R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        match self {
            Source::Plain(bytes) => bytes.seek(to),
            Source::Gzip(_) => Err(std::io::ErrorKind::NotSeekable.into()),
        }
    }
}
