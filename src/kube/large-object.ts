import { type JsonObject, objectIn } from '../runtime/json.ts';
import { parseJson } from './api-answer.ts';
import { endOfString } from './json-text.ts';

/**
 * Maximum number of JSON values in a custom resource. The largest object that the schemas allow has 16 backends with 100
 * addresses each, about 7,000 values. The API server stores a million values in one object; parsing them takes half a
 * second.
 */
export const MAX_CUSTOM_VALUES = 16_384;
/** Maximum length of an object's JSON. The schemas allow about 100 KiB, and annotations at most 256 KiB. */
const MAX_TEXT = 524_288;
/** Texts up to this length are parsed without counting, because they are cheap to parse. */
const SMALL_TEXT = 16_384;

/** Maximum length of each member of the metadata, and of the reference to the connection. */
const MAX_METADATA_MEMBER = 65_536;
/** Enough for 16 conditions with messages of maximum length. */
const MAX_STATUS = 655_360;

const COMMA = 44;
const COLON = 58;
const QUOTE = 34;
const OPENING_BRACKET = 91;
const CLOSING_BRACKET = 93;
const OPENING_BRACE = 123;
const CLOSING_BRACE = 125;

const TOO_LARGE = Symbol('too large');

/** Why the spec of `object` was not parsed. Undefined if the object was parsed in full. */
export function whyNotRead(object: JsonObject): string | undefined {
  const why = (object as { readonly [TOO_LARGE]?: string })[TOO_LARGE];
  return typeof why === 'string' ? why : undefined;
}

/**
 * Parses one object. If it has more than `maxValues` JSON values, only its identity, its reference to a connection and its
 * status are parsed, so that one tenant's large object does not delay the others. `whyNotRead` recognizes such an object.
 * Throws `KubeApiError` if `text` is not valid JSON.
 */
export function parseObject(text: string, maxValues: number): unknown {
  const why = problemOf(text, maxValues);
  return why === undefined ? parseJson(text) : { ...identityOf(text), [TOO_LARGE]: why };
}

/** Parses one watch event. Its object is parsed by `parseObject`. */
export function parseEvent(text: string, maxValues: number): JsonObject {
  if (problemOf(text, maxValues) === undefined) return objectIn(parseJson(text));
  const { object, ...rest } = Object.fromEntries(membersOf(text));
  return {
    ...parsedMembers(rest),
    object: object === undefined ? undefined : parseObject(object, maxValues),
  };
}

function problemOf(text: string, maxValues: number): string | undefined {
  if (maxValues === Number.POSITIVE_INFINITY || text.length <= SMALL_TEXT) return undefined;
  if (text.length > MAX_TEXT) return `is larger than ${MAX_TEXT} characters of JSON: make the object smaller`;
  return hasMoreValues(text, maxValues)
    ? `has more than ${maxValues} JSON values: make the object smaller`
    : undefined;
}

/** Estimates the number of values by counting commas and opening brackets. */
function hasMoreValues(text: string, maxValues: number): boolean {
  let values = 0;
  for (let at = 0; at < text.length && values <= maxValues; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(text, at);
      if (at < 0) return false;
    } else if (code === COMMA || code === OPENING_BRACE || code === OPENING_BRACKET) values += 1;
  }
  return values > maxValues;
}

function identityOf(text: string): JsonObject {
  const { metadata = '{}', spec = '{}', status = '{}', apiVersion = '""', kind = '""' } = membersIn(text);
  const { managedFields: _, ...kept } = membersIn(metadata);
  const { connectionRef = '{}' } = membersIn(spec);
  return {
    ...parsedMembers({ apiVersion, kind }),
    metadata: parsedMembers(kept),
    spec: parsedMembers({ connectionRef }),
    ...(status.length <= MAX_STATUS ? { status: parseJson(status) } : {}),
  };
}

function parsedMembers(members: Readonly<Record<string, string>>): JsonObject {
  const short = Object.entries(members).filter(([, { length }]) => length <= MAX_METADATA_MEMBER);
  return Object.fromEntries(short.map(([name, text]) => [name, parseJson(text)]));
}

function membersIn(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(membersOf(text));
}

/** The members of a JSON object, each as text. Does not validate `text`; parsing the members does. */
function membersOf(text: string): ReadonlyMap<string, string> {
  const members = new Map<string, string>();
  let depth = 0;
  let name: string | undefined;
  let from = -1;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    const endsMember = depth === 1 && from >= 0 && (code === COMMA || code === CLOSING_BRACE);
    if (endsMember && name !== undefined) {
      members.set(name, text.slice(from, at));
      [name, from] = [undefined, -1];
    }
    if (code === QUOTE) {
      const end = endOfString(text, at);
      if (end < 0) return members;
      if (depth === 1 && name === undefined) name = String(parseJson(text.slice(at, end + 1)));
      at = end;
    } else if (code === COLON && depth === 1 && from < 0) from = at + 1;
    else if (code === OPENING_BRACE || code === OPENING_BRACKET) depth += 1;
    else if (code === CLOSING_BRACE || code === CLOSING_BRACKET) depth -= 1;
  }
  return members;
}
