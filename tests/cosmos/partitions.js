"use strict";
// Hierarchical partition keys. The stock server knows the first path only, ignores the partition header of queries and
// has no effective partition keys, by which the Python SDK asks for a prefix of a key.
const { partitionHeader } = require("./stock");

const MASK = (1n << 64n) - 1n;
const rotated = (value, by) => ((value << by) | (value >> (64n - by))) & MASK;

function mixed(value) {
  value = ((value ^ (value >> 33n)) * 0xff51afd7ed558ccdn) & MASK;
  value = ((value ^ (value >> 33n)) * 0xc4ceb9fe1a85ec53n) & MASK;
  return value ^ (value >> 33n);
}

// MurmurHash3, 128 bits for x64, seed 0.
function murmur(bytes) {
  const c1 = 0x87c37b91114253d5n;
  const c2 = 0x4cf5ad432745937fn;
  const scrambled1 = (k) => (rotated((k * c1) & MASK, 31n) * c2) & MASK;
  const scrambled2 = (k) => (rotated((k * c2) & MASK, 33n) * c1) & MASK;
  const length = BigInt(bytes.length);
  const whole = bytes.length - (bytes.length % 16);
  let h1 = 0n;
  let h2 = 0n;
  for (let at = 0; at < whole; at += 16) {
    h1 ^= scrambled1(bytes.readBigUInt64LE(at));
    h1 = ((rotated(h1, 27n) + h2) * 5n + 0x52dce729n) & MASK;
    h2 ^= scrambled2(bytes.readBigUInt64LE(at + 8));
    h2 = ((rotated(h2, 31n) + h1) * 5n + 0x38495ab5n) & MASK;
  }
  const tail = Buffer.alloc(16);
  bytes.copy(tail, 0, whole);
  h2 ^= scrambled2(tail.readBigUInt64LE(8));
  h1 ^= scrambled1(tail.readBigUInt64LE(0));
  h1 ^= length;
  h2 ^= length;
  h1 = (h1 + h2) & MASK;
  h2 = (h2 + h1) & MASK;
  h1 = mixed(h1);
  h2 = mixed(h2);
  h1 = (h1 + h2) & MASK;
  h2 = (h2 + h1) & MASK;
  return (h2 << 64n) | h1;
}

const hashes = new Map();

function hashOf(text) {
  let hash = hashes.get(text);
  if (hash === undefined) {
    const bytes = Buffer.concat([Buffer.from([8]), Buffer.from(text, "utf8"), Buffer.from([255])]);
    // The two highest bits stay clear, because FF is the end of the key space.
    const number = murmur(bytes) & ((1n << 126n) - 1n);
    hash = number.toString(16).toUpperCase().padStart(32, "0");
    hashes.set(text, hash);
  }
  return hash;
}

const effectiveKey = (values) => values.map((value) => hashOf(String(value))).join("");

function values(paths, document) {
  return paths.map((path) => path.slice(1).split("/").reduce((node, name) => (node == null ? undefined : node[name]), document));
}

const keyText = (key) => JSON.stringify(key);

function fromHeader(req) {
  const header = req.headers["x-ms-documentdb-partitionkey"];
  return header === undefined ? null : JSON.parse(header);
}

// A test of documents: one whole partition, the partitions below a prefix (a range of effective keys), or everything.
function scope(req, paths) {
  const key = fromHeader(req);
  if (key !== null) {
    const wanted = keyText(key);
    return { complete: key.length === paths.length, holds: (document) => keyText(values(paths, document)) === wanted };
  }
  const start = req.headers["x-ms-start-epk"];
  const end = req.headers["x-ms-end-epk"];
  if (start !== undefined && end !== undefined) {
    return {
      complete: true,
      holds: (document) => {
        const effective = effectiveKey(values(paths, document));
        return start <= effective && effective < end;
      },
    };
  }
  return { complete: true, holds: () => true };
}

function repair() {
  partitionHeader.parsePartitionKey = (header) => keyText(JSON.parse(header));
}

module.exports = { fromHeader, keyText, repair, scope, values };
