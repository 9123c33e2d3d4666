import { MAX_LIST_REST_BYTES } from './limits.ts';

/** The response is not JSON. */
export class NotJsonError extends Error {
  override readonly name: string = 'NotJsonError';
}

/** The response is a list, but not of objects. */
export class NotObjectsError extends NotJsonError {
  override readonly name = 'NotObjectsError';
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPENING_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSING_BRACKET = 0x5d;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;

/**
 * Splits the JSON of a list while it arrives, and passes on the bytes of each item as soon as it is complete. Neither the text
 * nor the parsed list is ever in memory as a whole. Checks nothing that parsing the parts does not check.
 */
export class ItemScanner {
  readonly #take: (item: Buffer) => void;
  /** The name of the member that has the items, quoted. Undefined: the list is the whole response. */
  readonly #member: string | undefined;
  /** Bytes of the item that has begun, from earlier chunks. */
  #item: Buffer[] = [];
  /** Everything but the items. */
  #rest: Buffer[] = [];
  #restBytes = 0;
  /** Of brackets that are open: of the whole where no item has begun, else of the item. */
  #depth = 0;
  #inString = false;
  #escaped = false;
  #state: 'before' | 'between' | 'inItem' | 'after' = 'before';
  /** Between items: what came last. */
  #last: 'opening' | 'item' | 'comma' = 'opening';
  /** Before the items: the member of the root that was named last, and whether its value comes next. */
  #name = '';
  #isValueNext = false;

  /** `take` must not keep the bytes. `member`: of the root, the member that has the items; absent: the root is the list. */
  constructor(take: (item: Buffer) => void, member?: string) {
    this.#take = take;
    this.#member = member === undefined ? undefined : JSON.stringify(member);
  }

  /** Throws `NotJsonError`, `NotObjectsError`, and whatever `take` throws. */
  push(chunk: Buffer): void {
    let from = 0;
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at] ?? 0;
      switch (this.#state) {
        case 'inItem':
          at = this.#scanItem(chunk, at);
          if (at === chunk.length) break;
          this.#item.push(chunk.subarray(from, at + 1));
          from = at + 1;
          this.#finishItem();
          break;
        case 'between':
          from = this.#stepBetween(byte, at);
          break;
        case 'before':
          if (!this.#beginsItems(byte)) break;
          this.#keep(chunk.subarray(from, at + 1));
          from = at + 1;
          this.#state = 'between';
          break;
        case 'after':
          break;
        default:
          this.#state satisfies never;
      }
    }
    if (from === chunk.length) return;
    // What is kept must not keep the chunk.
    if (this.#state === 'inItem') this.#item.push(Buffer.from(chunk.subarray(from)));
    else if (this.#state !== 'between') this.#keep(chunk.subarray(from));
  }

  /** The list with no items in it, parsed. Throws `NotJsonError` where it is not whole. */
  end(): unknown {
    if (this.#state === 'between' || this.#state === 'inItem')
      throw new NotJsonError('the list is incomplete');
    return parseJson(Buffer.concat(this.#rest));
  }

  #keep(bytes: Buffer): void {
    this.#restBytes += bytes.length;
    if (this.#restBytes > MAX_LIST_REST_BYTES)
      throw new NotJsonError('the response is too large outside its list');
    this.#rest.push(Buffer.from(bytes));
  }

  /** Where the item ends that goes on at `from`; the length of the chunk where it does not. Nearly every byte is one of an item. */
  #scanItem(chunk: Buffer, from: number): number {
    let [depth, inString, escaped] = [this.#depth, this.#inString, this.#escaped];
    let at = from;
    for (; at < chunk.length; at += 1) {
      const byte = chunk[at];
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE) inString = true;
      else if (byte === OPENING_BRACE || byte === OPENING_BRACKET) depth += 1;
      else if (byte === CLOSING_BRACE || byte === CLOSING_BRACKET) {
        depth -= 1;
        if (depth === 0) break;
      }
    }
    [this.#depth, this.#inString, this.#escaped] = [depth, inString, escaped];
    return at;
  }

  #finishItem(): void {
    const [only] = this.#item;
    const bytes = this.#item.length === 1 && only !== undefined ? only : Buffer.concat(this.#item);
    this.#item = [];
    this.#state = 'between';
    this.#last = 'item';
    this.#take(bytes);
  }

  /** One byte between items; from where on the chunk is wanted. */
  #stepBetween(byte: number, at: number): number {
    if (isSpace(byte)) return at + 1;
    if (byte === OPENING_BRACE && this.#last !== 'item') {
      this.#state = 'inItem';
      this.#depth = 1;
      return at;
    }
    if (byte === COMMA && this.#last === 'item') {
      this.#last = 'comma';
      return at + 1;
    }
    if (byte === CLOSING_BRACKET && this.#last !== 'comma') {
      this.#state = 'after';
      return at;
    }
    throw new NotObjectsError('the list contains an item that is not an object');
  }

  /** One byte before the items; whether it opens them. */
  #beginsItems(byte: number): boolean {
    if (this.#member === undefined) {
      if (isSpace(byte) || this.#depth > 0) return false;
      this.#depth += 1;
      return byte === OPENING_BRACKET;
    }
    const wasInString = this.#inString;
    const isValue = this.#depth === 1 && this.#isValueNext && !wasInString;
    if (isValue && byte === OPENING_BRACKET && this.#name === this.#member) return true;
    this.#stepBefore(byte);
    if (this.#depth !== 1) return false;
    if (wasInString || this.#inString) {
      // No longer than it takes to see that this is another name.
      this.#name = wasInString
        ? `${this.#name.slice(0, this.#member.length)}${String.fromCharCode(byte)}`
        : '"';
    } else if (byte === COLON) this.#isValueNext = true;
    else if (!isSpace(byte)) this.#isValueNext = false;
    return false;
  }

  #stepBefore(byte: number): void {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) this.#inString = false;
    } else if (byte === QUOTE) this.#inString = true;
    else if (byte === OPENING_BRACE || byte === OPENING_BRACKET) this.#depth += 1;
    else if (byte === CLOSING_BRACE || byte === CLOSING_BRACKET) this.#depth -= 1;
  }
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Throws `NotJsonError`. Text with a character replaced would be another id, or another address. */
export function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(decoder.decode(bytes)) as unknown;
  } catch {
    throw new NotJsonError('invalid JSON');
  }
}
