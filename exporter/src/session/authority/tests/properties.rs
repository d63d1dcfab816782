//! Properties of the filter, by another HPACK implementation's judgement.

use std::collections::VecDeque;
use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::{huffman, value};
use super::{Field, PREFACE, decode_block, filtered, frame, headers, integer, string};

/// The static table's names that are used here, with their indices.
const STATIC: [(usize, &str); 4] =
    [(1, ":authority"), (2, ":method"), (4, ":path"), (58, "user-agent")];

/// How a field is to be written; what is impossible becomes a literal.
#[derive(Debug, Clone)]
struct Form {
    /// As the index of an entry with this name and value.
    indexed: bool,
    /// The first byte of a literal.
    literal: u8,
    /// Refer to this one of the entries with this name.
    name: Option<Index>,
    huffman_name: bool,
    huffman_value: bool,
}

#[derive(Debug, Clone)]
struct Request {
    size_update: Option<usize>,
    fields: Vec<(String, String, Form)>,
    padding: Option<u8>,
    priority: bool,
    /// Where the block is cut into CONTINUATION frames.
    cuts: Vec<Index>,
    data: Vec<u8>,
}

/// An HPACK encoder that does as it is told.
#[derive(Default)]
struct Encoder {
    table: VecDeque<Field>,
    limit: usize,
}

impl Encoder {
    fn resize(&mut self, block: &mut Vec<u8>, limit: usize) {
        integer(block, 0x20, 5, limit);
        self.limit = limit;
        self.evict();
    }

    fn encode(&mut self, block: &mut Vec<u8>, name: &str, value: &str, form: &Form) {
        let field = (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let known = self.table.iter().position(|entry| *entry == field);
        if let (true, Some(index)) = (form.indexed, known) {
            integer(block, 0x80, 7, 62 + index);
            return;
        }
        let prefix_bits = if form.literal == 0x40 { 6 } else { 4 };
        let dynamic =
            self.table.iter().zip(62..).map(|((name, _), index)| (index, name.as_slice()));
        let names = STATIC.map(|(index, name)| (index, name.as_bytes()));
        let indices: Vec<usize> = dynamic
            .chain(names)
            .filter(|(_, other)| *other == name.as_bytes())
            .map(|(index, _)| index)
            .collect();
        match &form.name {
            Some(choice) if !indices.is_empty() => {
                integer(block, form.literal, prefix_bits, *choice.get(&indices));
            }
            Some(_) | None => {
                block.push(form.literal);
                text(block, name, form.huffman_name);
            }
        }
        text(block, value, form.huffman_value);
        if form.literal == 0x40 {
            self.table.push_front(field);
            self.evict();
        }
    }

    fn evict(&mut self) {
        let size = |(name, value): &Field| name.len() + value.len() + 32;
        while self.table.iter().map(size).sum::<usize>() > self.limit {
            self.table.pop_back();
        }
    }
}

fn text(block: &mut Vec<u8>, text: &str, huffman: bool) {
    if huffman {
        string(block, &huffman::encode(text.as_bytes()), true);
    } else {
        string(block, text.as_bytes(), false);
    }
}

/// What a client sends, and where in it the pieces of each header block are.
struct Sent {
    stream: Vec<u8>,
    blocks: Vec<Vec<Range<usize>>>,
}

impl Sent {
    fn new(requests: &[Request]) -> Self {
        let mut sent = Self { stream: PREFACE.to_vec(), blocks: Vec::new() };
        let mut encoder = Encoder { limit: 4096, ..Encoder::default() };
        for (request, stream_id) in requests.iter().zip((1..).step_by(2)) {
            let mut block = Vec::new();
            if let Some(limit) = request.size_update {
                encoder.resize(&mut block, limit);
            }
            for (name, value, form) in &request.fields {
                encoder.encode(&mut block, name, value, form);
            }
            sent.push(request, stream_id, &block);
        }
        sent
    }

    fn push(&mut self, request: &Request, stream_id: u32, block: &[u8]) {
        let mut cuts: Vec<usize> =
            request.cuts.iter().map(|cut| cut.index(block.len() + 1)).collect();
        cuts.extend([0, block.len()]);
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        for (number, piece) in cuts.windows(2).enumerate() {
            let fragment = &block[piece[0]..piece[1]];
            let last = if number + 2 == cuts.len() { 0x4 } else { 0x0 };
            let start = if number > 0 {
                self.stream.extend(frame(0x9, last, stream_id, fragment));
                self.stream.len() - fragment.len()
            } else {
                let padding = request.padding.map_or(0, usize::from);
                let mut flags = last;
                let mut payload = Vec::new();
                if let Some(length) = request.padding {
                    flags |= 0x8;
                    payload.push(length);
                }
                if request.priority {
                    flags |= 0x20;
                    payload.extend([0, 0, 0, 0, 16]);
                }
                payload.extend_from_slice(fragment);
                payload.resize(payload.len() + padding, 0);
                self.stream.extend(headers(flags, stream_id, &payload));
                self.stream.len() - padding - fragment.len()
            };
            pieces.push(start..start + fragment.len());
        }
        self.blocks.push(pieces);
        self.stream.extend(frame(0x0, 0x1, stream_id, &request.data));
    }

    /// The header fields of every request, as they are in `stream`.
    fn fields(&self, stream: &[u8]) -> Vec<Vec<Field>> {
        let mut decoder = loona_hpack::Decoder::new();
        self.blocks
            .iter()
            .map(|pieces| {
                let block: Vec<u8> =
                    pieces.iter().flat_map(|piece| &stream[piece.clone()]).copied().collect();
                decode_block(&mut decoder, &block)
            })
            .collect()
    }

    /// A stream without its header blocks.
    fn around_blocks(&self, stream: &[u8]) -> Vec<u8> {
        let mut around = stream.to_vec();
        for piece in self.blocks.iter().flatten() {
            around[piece.clone()].fill(0);
        }
        around
    }
}

/// A stream cut into pieces.
fn pieces<'a>(stream: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|piece| &stream[piece[0]..piece[1]]).collect()
}

fn form() -> impl Strategy<Value = Form> {
    (any::<bool>(), prop::sample::select(vec![0x40, 0x40, 0x00, 0x10]), any::<Option<Index>>())
        .prop_flat_map(|(indexed, literal, name)| {
            (any::<bool>(), any::<bool>()).prop_map(move |(huffman_name, huffman_value)| Form {
                indexed,
                literal,
                name,
                huffman_name,
                huffman_value,
            })
        })
}

fn requests(authority: &'static str) -> impl Strategy<Value = Vec<Request>> {
    let field = prop_oneof![
        (Just(":authority".to_owned()), authority),
        (prop::sample::select(vec![":method", ":path", "user-agent", "x-1", "x-2"]), "[ -~]{0,60}")
            .prop_map(|(name, value)| (name.to_owned(), value)),
    ];
    let fields = vec((field, form()).prop_map(|((name, value), form)| (name, value, form)), 1..8);
    let request = (
        prop::option::weighted(0.2, 0_usize..=4096),
        fields,
        any::<Option<u8>>(),
        any::<bool>(),
        vec(any::<Index>(), 0..3),
        vec(any::<u8>(), 0..20),
    )
        .prop_map(|(size_update, fields, padding, priority, cuts, data)| Request {
            size_update,
            fields,
            padding,
            priority,
            cuts,
            data,
        });
    vec(request, 1..8)
}

proptest! {
    #[test]
    fn the_server_gets_the_fields_of_the_client_with_its_authorities_mended(
        requests in requests("[a-c%/:.@\\[\\]?#-]{1,30}"),
        cuts in vec(any::<Index>(), 0..20),
        largest_read in 1_usize..300,
    ) {
        let sent = Sent::new(&requests);
        let received = filtered(pieces(&sent.stream, &cuts), largest_read);
        prop_assert_eq!(sent.around_blocks(&received), sent.around_blocks(&sent.stream));

        let (client, server) = (sent.fields(&sent.stream), sent.fields(&received));
        for (request, (client, server)) in requests.iter().zip(client.iter().zip(&server)) {
            prop_assert_eq!(client.len(), request.fields.len());
            prop_assert_eq!(server.len(), request.fields.len());
            for (((name, value, _), client), server) in request.fields.iter().zip(client).zip(server) {
                let meant = (name.as_bytes(), value.as_bytes());
                prop_assert_eq!((&client.0[..], &client.1[..]), meant, "the encoder is wrong");
                prop_assert_eq!(&server.0, &client.0);
                if name == ":authority" && !value::is_valid(&client.1) {
                    prop_assert!(value::is_valid(&server.1), "{:?}", server);
                    prop_assert_eq!(server.1.len(), client.1.len());
                } else {
                    prop_assert_eq!(&server.1, &client.1);
                }
            }
        }
    }

    #[test]
    fn a_stream_without_a_bad_authority_stays_as_it_is(
        requests in requests("[a-z0-9.-]{1,30}(:[0-9]{1,5})?"),
        cuts in vec(any::<Index>(), 0..20),
        largest_read in 1_usize..300,
    ) {
        let sent = Sent::new(&requests);
        prop_assert_eq!(filtered(pieces(&sent.stream, &cuts), largest_read), sent.stream);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm_and_how_they_are_cut_does_not_matter(
        preface: bool,
        frames in vec((vec(any::<u8>(), 0..40), prop_oneof![Just(1_u8), Just(9), 0_u8..12], any::<u8>(), 0_u32..3), 0..6),
        tail in vec(any::<u8>(), 0..40),
        cuts in vec(any::<Index>(), 0..20),
        largest_read in 1_usize..100,
    ) {
        let mut stream = if preface { PREFACE.to_vec() } else { Vec::new() };
        for (payload, kind, flags, stream_id) in frames {
            stream.extend(frame(kind, flags, stream_id, &payload));
        }
        stream.extend(tail);
        let whole = filtered([&stream[..]], stream.len() + 1);
        prop_assert_eq!(whole.len(), stream.len());
        prop_assert_eq!(filtered(pieces(&stream, &cuts), largest_read), whole);
    }
}
