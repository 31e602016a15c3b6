//! A bounded parser of server-sent events (WHATWG HTML, section 9.2.6).

/// Largest event in bytes. The API's have a few hundred.
const MAX_EVENT: usize = 64 * 1024;
/// Longest id in bytes. The API's are `<ms>-<n>`.
const MAX_ID: usize = 128;

/// A server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SseEvent {
    /// Sent as `Last-Event-ID` to resume after this event.
    pub(crate) id: Option<String>,
    /// The data lines, joined by line feeds.
    pub(crate) data: String,
}

/// An event was larger than [`MAX_EVENT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is too large")]
pub(crate) struct TooLarge;

/// Parses events from chunks of bytes.
#[derive(Debug, Default)]
pub(crate) struct SseReader {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    id: Option<String>,
    after_cr: bool,
    started: bool,
}

impl SseReader {
    /// Parses the next chunk and returns the events that are complete.
    ///
    /// # Errors
    /// An event is too large; the reader cannot be used afterwards.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, TooLarge> {
        let mut events = Vec::new();
        for &byte in bytes {
            // A line ends with CR, LF or CR LF.
            let lf_of_crlf = std::mem::replace(&mut self.after_cr, byte == b'\r') && byte == b'\n';
            if lf_of_crlf {
                continue;
            }
            if matches!(byte, b'\r' | b'\n') {
                events.extend(self.end_line());
            } else {
                self.line.push(byte);
            }
            if self.line.len() + self.data.len() > MAX_EVENT {
                return Err(TooLarge);
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        let mut line = String::from_utf8_lossy(&line);
        if !std::mem::replace(&mut self.started, true) && line.starts_with('\u{feff}') {
            line = line.trim_start_matches('\u{feff}').to_owned().into();
        }
        if line.is_empty() {
            return self.dispatch();
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "id" if !value.contains('\0') && value.len() <= MAX_ID => self.id = Some(value.to_owned()),
            // Comments only keep the connection alive; `event` and `retry` are not used.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        let data = std::mem::take(&mut self.data);
        std::mem::take(&mut self.has_data)
            .then(|| SseEvent { id: self.id.clone().filter(|id| !id.is_empty()), data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&[u8]]) -> Vec<(Option<String>, String)> {
        let mut reader = SseReader::default();
        let events = parts.iter().flat_map(|part| reader.push(part).unwrap());
        events.map(|e| (e.id, e.data)).collect()
    }

    #[test]
    fn events_do_not_depend_on_how_the_bytes_are_split() {
        let text =
            "\u{feff}: hi\n\nid: 1-0\r\nevent: x\ndata: a\u{e4}\ndata:b\n\r\ndata\n\nid: 2-0\rdata: c\r\rdata: cut"
                .as_bytes();
        let expected = [
            (Some("1-0".to_owned()), "a\u{e4}\nb".to_owned()),
            (Some("1-0".to_owned()), String::new()),
            (Some("2-0".to_owned()), "c".to_owned()),
        ];
        for cut in 0..=text.len() {
            assert_eq!(read(&[&text[..cut], &text[cut..]]), expected, "cut at {cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(read(&single), expected);
    }

    #[test]
    fn an_event_beyond_the_limit_is_rejected() {
        let mut reader = SseReader::default();
        let mut pushed = 0;
        let refused = loop {
            match reader.push(b"data: 0123456789\n") {
                Ok(events) => assert!(events.is_empty()),
                Err(error) => break error,
            }
            pushed += 11;
            assert!(pushed <= MAX_EVENT + 11);
        };
        assert_eq!(refused, TooLarge);
        assert_eq!(SseReader::default().push(&vec![b'x'; MAX_EVENT + 1]), Err(TooLarge));
    }
}
