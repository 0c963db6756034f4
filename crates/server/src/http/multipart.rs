//! A body of `multipart/form-data` (RFC 7578): the fields of a form, files among them.

use crate::refusal::Refusal;

/// Parts of a body at most.
const PARTS: usize = 32;
/// Bytes of a part's head at most.
const HEAD: usize = 1 << 10;

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Its name.
    pub name: String,
    /// Whether it came as a file.
    pub is_file: bool,
    /// Its content.
    pub content: &'a [u8],
}

/// What stands between parts, by a `Content-Type`; none of another kind of body.
pub fn boundary(kind: &str) -> Option<&str> {
    let mut pieces = kind.split(';');
    pieces.next()?.trim().eq_ignore_ascii_case("multipart/form-data").then_some(())?;
    let value = pieces.find_map(|piece| {
        let (key, value) = piece.split_once('=')?;
        key.trim().eq_ignore_ascii_case("boundary").then_some(value)
    });
    let value = value?.trim().trim_matches('"');
    let plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    ((1..=70).contains(&value.len()) && value.bytes().all(plain)).then_some(value)
}

/// The fields of `body`, in their order.
///
/// # Errors
/// A body that is no such form.
pub fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, Refusal> {
    let wrong = |what: &str| Refusal::new(400, "invalid_form", format!("the body is no form: {what}"));
    let (first, line) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
    let mut rest = body.strip_prefix(first.as_bytes()).ok_or_else(|| wrong("it does not begin with its boundary"))?;
    let mut found = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(found);
        }
        rest = rest.strip_prefix(b"\r\n").ok_or_else(|| wrong("a boundary is followed by something else"))?;
        if found.len() == PARTS {
            return Err(wrong(&format!("it may have {PARTS} fields")));
        }
        let end = find(&rest[..rest.len().min(HEAD)], b"\r\n\r\n").ok_or_else(|| wrong("a field has no head"))?;
        let head = std::str::from_utf8(&rest[..end]).map_err(|_| wrong("a field's head is no text"))?;
        rest = &rest[end + 4..];
        let length = find(rest, line.as_bytes()).ok_or_else(|| wrong("its last field has no end"))?;
        let disposition = head.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
        });
        let disposition = disposition.ok_or_else(|| wrong("a field has no name"))?;
        let name = quoted(disposition, "name").ok_or_else(|| wrong("a field has no name"))?;
        let is_file = quoted(disposition, "filename").is_some();
        found.push(Part { name, is_file, content: &rest[..length] });
        rest = &rest[length + line.len()..];
    }
}

/// Where `needle` begins.
fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

/// The value of `key="value"` among the parameters of a head's line.
fn quoted(line: &str, key: &str) -> Option<String> {
    let start = format!("{key}=\"");
    let from = line.match_indices(&start).find(|(at, _)| line[..*at].ends_with([' ', ';']))?.0 + start.len();
    Some(line[from..].split_once('"')?.0.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"--x\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na \r\n--y cat\r\n--x\r\n\
        content-disposition: form-data; filename=\"a;b.png\"; name=\"image\"\r\nContent-Type: image/png\r\n\r\n\x89P\r\n\r\n\x00\r\n--x--\r\n";

    /// Mutants: `name` found inside `filename`; a content cut at its first line's end.
    #[test]
    fn forms_come_apart() {
        let found = parts(BODY, "x").unwrap();
        let seen: Vec<_> = found.iter().map(|part| (part.name.as_str(), part.is_file, part.content)).collect();
        assert_eq!(seen, [("prompt", false, &b"a \r\n--y cat"[..]), ("image", true, &b"\x89P\r\n\r\n\x00"[..])]);
    }

    #[test]
    fn boundaries_stand_in_the_kind() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Some("abc"));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\""), Some("a b"));
        for other in
            ["application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=a"]
        {
            assert_eq!(boundary(other), None, "{other}");
        }
    }

    /// Every cut of a form is refused or has fewer fields, and none breaks the reader.
    #[test]
    fn damage_is_refused() {
        for end in 0..BODY.len() - 4 {
            assert!(parts(&BODY[..end], "x").is_err(), "{end}");
        }
        assert!(parts(b"--x--", "x").unwrap().is_empty());
        let many = b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n".repeat(40);
        assert!(parts(&[&many[..], b"--x--"].concat(), "x").is_err());
    }
}
