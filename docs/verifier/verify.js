// Verifies a receipt (c2sp.org/tlog-proof) in a browser: no server is asked, and the page's policy lets it ask none.
// As src/tallystick/tlog does it, so that both find the same; every refusal names a line and a byte of the receipt.
"use strict";

const HEADER = "c2sp.org/tlog-proof@v1";
const ED25519 = 0x01,
  ED25519_COSIGNATURE = 0x04,
  MLDSA44 = 0x06;
const PUBLIC_SIZE = { [ED25519]: 32, [ED25519_COSIGNATURE]: 32, [MLDSA44]: 1312 };
const SIGNATURE_SIZE = { [ED25519]: 64, [ED25519_COSIGNATURE]: 72, [MLDSA44]: 2428 };
const SIZE_MAX = 2n ** 63n - 1n;
const utf8 = new TextEncoder();

class Refused extends Error {
  // `line` counts from 1, `byte` from 0, both in the receipt; a policy's refusal has none.
  constructor(why, line = null, byte = null) {
    super(why);
    this.line = line;
    this.byte = byte;
  }
}

// What is written

function linesOf(bytes) {
  const found = [];
  let begin = 0;
  for (let at = 0; at < bytes.length; at++) {
    if (bytes[at] !== 0x0a) {
      if (bytes[at] < 0x20) throw new Refused("a receipt has no control characters but newlines", found.length + 1, at);
      continue;
    }
    found.push({
      number: found.length + 1,
      byte: begin,
      text: decoded(bytes.subarray(begin, at), found.length + 1, begin),
    });
    begin = at + 1;
  }
  if (begin !== bytes.length || !found.length)
    throw new Refused("the last line is not ended: something is missing", found.length + 1, bytes.length);
  return found;
}

function decoded(bytes, line, byte) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Refused("this is no UTF-8", line, byte);
  }
}

function base64(text, what, line, byte) {
  const stranger = text.search(/[^A-Za-z0-9+/=]/);
  if (stranger >= 0) throw new Refused(`${what} is not base64`, line, byte + stranger);
  let binary;
  try {
    binary = atob(text);
  } catch {
    throw new Refused(`${what} is not base64`, line, byte + text.length);
  }
  if (btoa(binary) !== text)
    throw new Refused(`${what} is base64 in another spelling than the one`, line, byte + text.length - 1);
  return Uint8Array.from(binary, (sign) => sign.charCodeAt(0));
}

function decimal(text, what, line, byte) {
  if (!/^(0|[1-9][0-9]{0,18})$/.test(text) || BigInt(text) > SIZE_MAX)
    throw new Refused(`${what} is no number in its one spelling`, line, byte);
  return BigInt(text);
}

function checkName(name, line, byte) {
  if (!name || /[+\s\p{Cc}]/u.test(name) || utf8.encode(name).length > 255)
    throw new Refused("this is no name of a key", line, byte);
}

function parseReceipt(bytes) {
  const lines = linesOf(bytes);
  const at = (index, wanted) => {
    if (index >= lines.length) throw new Refused(`${wanted} is missing`, lines.length + 1, bytes.length);
    return lines[index];
  };
  if (lines[0].text !== HEADER) {
    let same = 0;
    while (same < HEADER.length && lines[0].text[same] === HEADER[same]) same++;
    throw new Refused(`a receipt begins with ${HEADER}`, 1, same);
  }
  let next = 1;
  const receipt = { lines, entry: null, hashes: [] };
  if (at(next, "the line `index`").text.startsWith("extra ")) receipt.entry = opening(lines[next++]);
  const index = at(next++, "the line `index`");
  if (!index.text.startsWith("index "))
    throw new Refused("a receipt says `index` before its hashes", index.number, index.byte);
  receipt.index = decimal(index.text.slice(6), "the index", index.number, index.byte + 6);
  receipt.indexLine = index;
  for (; at(next, "the blank line before the checkpoint").text; next++) {
    const line = lines[next];
    const hash = base64(line.text, "a hash of the proof", line.number, line.byte);
    if (hash.length !== 32) throw new Refused("a hash of the proof does not have 32 bytes", line.number, line.byte);
    receipt.hashes.push(hash);
    if (receipt.hashes.length > 63) throw new Refused("no tree needs more than 63 hashes", line.number, line.byte);
  }
  next++;
  const [origin, size, root, blank] = [0, 1, 2, 3].map((more) => at(next + more, "a line of the checkpoint"));
  checkName(origin.text, origin.number, origin.byte);
  if (blank.text) throw new Refused("a checkpoint has three lines and then a blank one", blank.number, blank.byte);
  receipt.origin = origin.text;
  receipt.originLine = origin;
  receipt.size = decimal(size.text, "the size of the checkpoint", size.number, size.byte);
  receipt.root = base64(root.text, "the root of the checkpoint", root.number, root.byte);
  receipt.rootLine = root;
  if (receipt.root.length !== 32) throw new Refused("a root has 32 bytes", root.number, root.byte);
  receipt.body = utf8.encode(`${origin.text}\n${size.text}\n${root.text}\n`);
  receipt.signatures = lines.slice(next + 4).map(signatureLine);
  if (!receipt.signatures.length) throw new Refused("nobody signed the checkpoint", lines.length + 1, bytes.length);
  if (receipt.signatures.length > 100)
    throw new Refused("a note has at most 100 signatures", lines.at(-1).number, lines.at(-1).byte);
  return receipt;
}

function opening(line) {
  const bytes = base64(line.text.slice(6), "the extra data", line.number, line.byte + 6);
  let found;
  try {
    found = JSON.parse(decoded(bytes, line.number, line.byte + 6));
  } catch (error) {
    throw error instanceof Refused
      ? error
      : new Refused("the receipt carries no entry of ours", line.number, line.byte + 6);
  }
  const { v, entry: encoded, text = {}, currency = null, ...more } = found ?? {};
  if (v !== 1 || typeof encoded !== "string" || !isText(text) || !isCurrency(currency) || Object.keys(more).length)
    throw new Refused("the receipt carries no entry of ours", line.number, line.byte + 6);
  // Base64 in base64: the byte that fails is where the outer one carries it.
  let entry;
  try {
    entry = base64(encoded, "the entry", line.number, new TextDecoder().decode(bytes).indexOf(encoded));
  } catch (error) {
    throw new Refused(error.message, line.number, line.byte + 6 + Math.floor((error.byte * 4) / 3));
  }
  if (entry.length !== 254) throw new Refused("an entry has 254 bytes", line.number, line.byte + 6);
  return { bytes: entry, line, text, currency };
}

function isText(found) {
  return (
    isObject(found) &&
    Object.values(found).every(
      (each) =>
        isObject(each) &&
        Object.keys(each).sort().join() === "salt,value" &&
        typeof each.salt === "string" &&
        typeof each.value === "string",
    )
  );
}

function isCurrency(found) {
  return (
    found === null ||
    (isObject(found) &&
      Object.keys(found).sort().join() === "code,control,scale" &&
      typeof found.code === "string" &&
      Number.isInteger(found.scale) &&
      Number.isInteger(found.control))
  );
}

function isObject(found) {
  return typeof found === "object" && found !== null && !Array.isArray(found);
}

function signatureLine(line) {
  const parts = line.text.split(" ");
  if (parts.length !== 3 || parts[0] !== "\u2014")
    throw new Refused("this is no line of a signature", line.number, line.byte);
  const nameAt = line.byte + 4; // the dash has three bytes
  checkName(parts[1], line.number, nameAt);
  const dataAt = nameAt + utf8.encode(parts[1]).length + 1;
  const data = base64(parts[2], `the signature of ${parts[1]}`, line.number, dataAt);
  if (data.length < 5) throw new Refused(`the signature of ${parts[1]} is too short`, line.number, dataAt);
  return { line, byte: dataAt, name: parts[1], id: hex(data.subarray(0, 4)), bytes: data.subarray(4) };
}

// Who is believed (c2sp.org/tlog-policy)

async function parsePolicy(text) {
  const policy = { logs: [], witnesses: new Map(), groups: new Map(), quorum: null };
  const members = new Set();
  const known = (name) => policy.witnesses.has(name) || policy.groups.has(name);
  for (const [index, line] of text.split("\n").entries()) {
    const no = (why) => new Refused(`line ${index + 1} of the policy: ${why}`);
    const words = line
      .trim()
      .split(/[ \t\r]+/)
      .filter(Boolean);
    if (!words.length || words[0].startsWith("#")) continue;
    const [kind, ...rest] = words;
    if (kind === "log" && (rest.length === 1 || rest.length === 2)) {
      policy.logs.push(await parseKey(rest[0], [ED25519, MLDSA44], no));
    } else if (kind === "witness" && (rest.length === 2 || rest.length === 3)) {
      if (known(rest[0]) || rest[0] === "none") throw no(`the name ${rest[0]} is taken`);
      policy.witnesses.set(rest[0], await parseKey(rest[1], [ED25519_COSIGNATURE, MLDSA44], no));
    } else if (kind === "group" && rest.length >= 3) {
      const [name, wanted, ...names] = rest;
      if (known(name) || name === "none") throw no(`the name ${name} is taken`);
      for (const each of names) {
        if (!known(each)) throw no(`nothing above is called ${each}`);
        if (members.has(each)) throw no(`${each} is a member already, and would count twice`);
        members.add(each);
      }
      const count = { any: 1, all: names.length }[wanted] ?? (/^[1-9][0-9]{0,3}$/.test(wanted) ? Number(wanted) : 0);
      if (count < 1 || count > names.length) throw no(`${wanted} of ${names.length} cannot be`);
      policy.groups.set(name, { wanted: count, names });
    } else if (kind === "quorum" && rest.length === 1 && policy.quorum === null) {
      if (rest[0] !== "none" && !known(rest[0])) throw no(`nothing above is called ${rest[0]}`);
      policy.quorum = rest[0];
    } else throw no("this is no line of a policy, or a second quorum");
  }
  if (!policy.logs.length)
    throw new Refused("the policy names no log: paste what the bank's `tally audit policy` printed");
  if (policy.quorum === null) throw new Refused("a policy says which quorum it wants, if only `quorum none`");
  const keys = [...policy.logs, ...policy.witnesses.values()].map((key) => hex(key.public));
  if (new Set(keys).size !== keys.length) throw new Refused("a key stands in the policy twice");
  return policy;
}

async function parseKey(text, kinds, no) {
  const [, name, id, encoded] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text) ?? [];
  if (!name) throw no("a key is written name+id+base64");
  let data;
  try {
    checkName(name);
    data = base64(encoded, `the key of ${name}`);
  } catch (error) {
    throw no(error.message);
  }
  const [kind, key] = [data[0], data.slice(1)];
  if (!kinds.includes(kind) || key.length !== PUBLIC_SIZE[kind]) throw no(`the key of ${name} signs nothing here`);
  if (hex((await sha256(utf8.encode(`${name}\n`), data)).subarray(0, 4)) !== id)
    throw no(`the key of ${name} has another id`);
  return { name, id, kind, public: key };
}

function reached(policy, name, signers) {
  if (name === "none") return true;
  if (policy.witnesses.has(name)) return signers.includes(policy.witnesses.get(name));
  const group = policy.groups.get(name);
  return group.names.filter((each) => reached(policy, each, signers)).length >= group.wanted;
}

// What is proven

const COMMITMENT_AT = 206; // in an entry (docs/records.md)

async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
}

function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function checkInclusion(receipt) {
  // RFC 9162 §2.1.3.2, step by step.
  const { index, size, hashes, indexLine, rootLine } = receipt;
  if (index >= size)
    throw new Refused(`a tree of ${size} leaves has no leaf ${index}`, indexLine.number, indexLine.byte + 6);
  const node = (left, right) => sha256(Uint8Array.of(1), left, right);
  let [first, last] = [index, size - 1n];
  let found = await sha256(Uint8Array.of(0), receipt.entry.bytes);
  for (const [number, sibling] of hashes.entries()) {
    const line = receipt.lines[indexLine.number + number];
    if (last === 0n) throw new Refused(`the proof is too long for leaf ${index} of ${size}`, line.number, line.byte);
    if (first & 1n || first === last) {
      found = await node(sibling, found);
      while (first && !(first & 1n)) [first, last] = [first >> 1n, last >> 1n];
    } else found = await node(found, sibling);
    [first, last] = [first >> 1n, last >> 1n];
  }
  const blank = receipt.lines[indexLine.number + hashes.length];
  if (last !== 0n) throw new Refused(`the proof is too short for leaf ${index} of ${size}`, blank.number, blank.byte);
  if (hex(found) !== hex(receipt.root))
    throw new Refused(
      `the entry in line ${receipt.entry.line.number}, led up by the proof in lines ${indexLine.number} to ${blank.number - 1}, ` +
        "does not come to this root: one of them was changed",
      rootLine.number,
      rootLine.byte,
    );
}

async function checkText({ bytes, line, text }) {
  // docs/audit.md: a field is HMAC-SHA256(salt, name ‖ 0 ‖ value), several are hashed together in the order of names.
  const commitments = [];
  for (const field of Object.keys(text).sort()) {
    const at = [line.number, line.byte + 6];
    const salt = base64(text[field].salt, `the salt of ${field}`, ...at);
    if (salt.length !== 32 || field.includes("\0"))
      throw new Refused(`field ${field}: a salt has 32 bytes, and a name no zero byte`, ...at);
    const key = await crypto.subtle.importKey("raw", salt, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const named = utf8.encode(`${field}\0${text[field].value}`);
    commitments.push(new Uint8Array(await crypto.subtle.sign("HMAC", key, named)));
  }
  if (!commitments.length) return;
  const [first] = commitments;
  const whole =
    commitments.length === 1 ? first : await sha256(utf8.encode("tallystick/metadata/v1\0"), ...commitments);
  if (hex(whole) !== hex(bytes.subarray(COMMITMENT_AT, COMMITMENT_AT + 32)))
    throw new Refused("the text is not the one that the entry commits to", line.number, line.byte + 6);
}

async function checkSignatures(receipt, policy) {
  const keys = [...policy.logs, ...policy.witnesses.values()];
  const [signers, unchecked] = [[], []];
  for (const signature of receipt.signatures) {
    const key = keys.find((each) => each.name === signature.name && each.id === signature.id);
    if (!key) continue; // of somebody who is not asked about
    const verdict = await signedBy(key, signature, receipt);
    if (verdict === null) unchecked.push(key);
    else if (verdict) signers.push(key);
    else
      throw new Refused(
        `the signature of ${key.name} (key ${key.id}) does not verify`,
        signature.line.number,
        signature.byte,
      );
  }
  if (!signers.some((key) => policy.logs.includes(key) && key.name === receipt.origin))
    throw new Refused(
      unchecked.some((key) => policy.logs.includes(key))
        ? "this browser can check none of the signatures of the log: use `tally audit verify`"
        : `no key of the log ${receipt.origin} that the policy names signed this checkpoint`,
      receipt.originLine.number,
      receipt.originLine.byte,
    );
  if (!reached(policy, policy.quorum, signers))
    throw new Refused(
      `the quorum ${policy.quorum} is not reached by those who signed` +
        (unchecked.length ? `; not checked by this browser: ${unchecked.map((key) => key.name).join(", ")}` : ""),
      receipt.originLine.number,
      receipt.originLine.byte,
    );
  return { signers, unchecked };
}

async function signedBy(key, signature, receipt) {
  // True or false; null: this browser cannot tell.
  if (signature.bytes.length !== SIGNATURE_SIZE[key.kind]) return false;
  if (key.kind === ED25519) return verified({ name: "Ed25519" }, "raw", key.public, signature.bytes, receipt.body);
  const time = new DataView(signature.bytes.slice(0, 8).buffer).getBigUint64(0);
  if (time < 1n || time > SIZE_MAX) return false;
  const bytes = signature.bytes.subarray(8);
  if (key.kind === ED25519_COSIGNATURE) {
    const message = joined(utf8.encode(`cosignature/v1\ntime ${time}\n`), receipt.body);
    return verified({ name: "Ed25519" }, "raw", key.public, bytes, message);
  }
  const number = (value) => new Uint8Array(new BigUint64Array([value]).buffer).reverse();
  const [name, origin] = [utf8.encode(key.name), utf8.encode(receipt.origin)];
  const message = joined(
    utf8.encode("subtree/v1\n\0"),
    Uint8Array.of(name.length),
    name,
    number(time),
    Uint8Array.of(origin.length),
    origin,
    number(0n),
    number(receipt.size),
    receipt.root,
  );
  try {
    return await verified({ name: "ML-DSA-44" }, "raw-public", key.public, bytes, message);
  } catch {
    return null;
  }
}

async function verified(algorithm, format, publicKey, signature, message) {
  const key = await crypto.subtle.importKey(format, publicKey, algorithm, false, ["verify"]);
  return crypto.subtle.verify(algorithm, key, signature, message);
}

async function verify(bytes, policyText) {
  const receipt = parseReceipt(bytes);
  if (!receipt.entry)
    throw new Refused("the receipt carries no entry to read", receipt.indexLine.number, receipt.indexLine.byte);
  const policy = await parsePolicy(policyText);
  const { signers, unchecked } = await checkSignatures(receipt, policy);
  await checkInclusion(receipt);
  await checkText(receipt.entry);
  return { receipt, signers, unchecked, grade: policy.quorum === "none" ? "logged" : "witnessed" };
}

// What it says (docs/records.md, "Entry"; the two bytes of length before an entry are not in the leaf)

function shown(entry) {
  const view = new DataView(entry.buffer, entry.byteOffset, entry.length);
  const wide = (at) => view.getBigUint64(at, true) | (view.getBigUint64(at + 8, true) << 64n);
  const id = (at) => wide(at).toString(16).padStart(32, "0");
  const kinds = { 1: "transfer", 2: "account", 3: "control", 4: "seal", 5: "expiry", 6: "placement" };
  const rows = { seq: view.getBigUint64(14, true), kind: kinds[view.getUint8(0)] ?? view.getUint8(0) };
  const ns = view.getBigUint64(22, true);
  if (ns)
    rows.decided_at =
      new Date(Number(ns / 1000000n)).toISOString().slice(0, 19) + `.${String(ns % 1000000000n).padStart(9, "0")}Z`;
  rows.tenant = view.getBigUint64(174, true);
  if (view.getUint8(0) === 1) {
    const status = view.getUint16(4, true);
    Object.assign(rows, {
      transfer_id: id(30),
      debit_account_id: id(46),
      credit_account_id: id(62),
      amount_asked: wide(78),
      amount_moved: wide(158),
      ledger: view.getUint32(142, true),
      code: view.getUint16(146, true),
      status: STATUSES[status] ?? status,
    });
  }
  rows.request_id = id(182);
  return Object.entries(rows).map(([name, value]) => [name, String(value)]);
}

// The page

const $ = (id) => document.getElementById(id);
let dropped = null;

async function judge() {
  if (!dropped) return;
  const bytes = dropped;
  let outcome;
  try {
    if (!crypto.subtle)
      throw new Refused("this browser gives no cryptography to this page: save it, and open it from your disk");
    outcome = await verify(bytes, $("policy").value);
  } catch (error) {
    if (bytes === dropped) refuse(error, bytes);
    return;
  }
  if (bytes === dropped) accept(outcome);
}

function accept({ receipt, signers, unchecked, grade }) {
  say("good", `VERIFIED: entry ${receipt.index} is in the log ${receipt.origin}, grade ${grade}`);
  const { bytes, text, currency } = receipt.entry;
  table("entry", [
    ...shown(bytes),
    ...Object.entries(text).map(([field, { value }]) => [field, value]),
    ...(currency
      ? [
          [
            "currency",
            `${currency.code}, ${currency.scale} digits behind the point, says act ${currency.control} of the log control`,
          ],
        ]
      : []),
  ]);
  table("signed", [
    ["size of the log", String(receipt.size)],
    ...signers.map((key) => ["signed by", `${key.name}+${key.id}`]),
    ...unchecked.map((key) => ["not checked: a kind of key this browser does not know", `${key.name}+${key.id}`]),
  ]);
  print(new TextDecoder().decode(dropped), null);
}

function refuse(error, bytes) {
  const where = error.line == null ? "" : `line ${error.line}, byte ${error.byte}: `;
  say("bad", `NOT VERIFIED: ${where}${error instanceof Refused ? error.message : `${error.name}: ${error.message}`}`);
  table("entry", []);
  table("signed", []);
  print(new TextDecoder().decode(bytes), error.line ?? null);
}

function say(kind, text) {
  $("verdict").className = kind;
  $("verdict").textContent = text;
}

function table(id, rows) {
  $(id).replaceChildren(
    ...rows.map(([name, value]) => {
      const row = document.createElement("tr");
      for (const [tag, text] of [
        ["th", name],
        ["td", value],
      ])
        row.appendChild(document.createElement(tag)).textContent = text;
      return row;
    }),
  );
}

function print(text, line) {
  $("text").replaceChildren(
    ...text.split("\n").map((content, index) => {
      const row = document.createElement("li");
      row.textContent = content;
      if (index + 1 === line) row.className = "failed";
      return row;
    }),
  );
  document.querySelector("#text .failed")?.scrollIntoView({ block: "nearest" });
}

async function take(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  // A policy may be dropped as well: a receipt begins with its header, and is never taken for one.
  if (/\.policy$/.test(file.name)) $("policy").value = new TextDecoder().decode(bytes);
  else dropped = bytes;
  await judge();
}

$("file").addEventListener("change", (event) => event.target.files[0] && take(event.target.files[0]));
$("policy").addEventListener("input", judge);
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  for (const file of event.dataTransfer.files) take(file);
});
