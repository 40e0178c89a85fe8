//! Protocol buffers without a schema: for reading what our writer wrote, and writing what ours
//! would never, by nobody's rules but the format's.

/// A message's fields by number, in their order.
#[derive(Debug)]
pub struct Message(Vec<(u64, Value)>);

#[derive(Debug)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Message {
    /// Splits `bytes` into fields.
    ///
    /// # Panics
    /// If they aren't a message of numbers and bytes.
    pub fn parse(mut bytes: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let value = match key & 7 {
                0 => Value::Number(varint(&mut bytes)),
                2 => {
                    let len = usize::try_from(varint(&mut bytes)).unwrap();
                    let (value, rest) = bytes.split_at(len);
                    bytes = rest;
                    Value::Bytes(value.to_vec())
                }
                5 => {
                    let (value, rest) = bytes.split_first_chunk().unwrap();
                    bytes = rest;
                    Value::Number(u32::from_le_bytes(*value).into())
                }
                kind => panic!("wire type {kind}"),
            };
            fields.push((key >> 3, value));
        }
        Self(fields)
    }

    /// The numbers of the fields that are there, each once.
    pub fn fields(&self) -> Vec<u64> {
        let mut fields: Vec<u64> = self.0.iter().map(|(field, _)| *field).collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    /// The only value of a number.
    pub fn number(&self, field: u64) -> u64 {
        match self.values(field).as_slice() {
            [Value::Number(number)] => *number,
            other => panic!("field {field} is {other:?}"),
        }
    }

    /// The only value of a field of bytes.
    pub fn bytes(&self, field: u64) -> &[u8] {
        match self.values(field).as_slice() {
            [Value::Bytes(bytes)] => bytes,
            other => panic!("field {field} is {other:?}"),
        }
    }

    /// Every message in a field.
    pub fn messages(&self, field: u64) -> Vec<Message> {
        let message = |value: &&Value| match value {
            Value::Bytes(bytes) => Message::parse(bytes),
            Value::Number(number) => panic!("field {field} is {number}"),
        };
        self.values(field).iter().map(message).collect()
    }

    fn values(&self, field: u64) -> Vec<&Value> {
        self.0
            .iter()
            .filter(|(number, _)| *number == field)
            .map(|(_, value)| value)
            .collect()
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a number of more than 64 bits");
}

/// A field that holds a number, encoded.
pub fn number(field: u64, value: u64) -> Vec<u8> {
    [put_varint(field << 3), put_varint(value)].concat()
}

/// A field that holds bytes, a text or a message.
pub fn bytes(field: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut encoded = put_varint(field << 3 | 2);
    encoded.extend(put_varint(value.len() as u64));
    encoded.extend_from_slice(value);
    encoded
}

fn put_varint(mut value: u64) -> Vec<u8> {
    let mut encoded = Vec::new();
    loop {
        let byte = (value & 0x7f).to_le_bytes()[0];
        value >>= 7;
        if value == 0 {
            encoded.push(byte);
            return encoded;
        }
        encoded.push(byte | 0x80);
    }
}
