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
 * Splits the JSON of a list while it arrives, and passes on the bytes of each item as soon as it is complete. Neither the
 * text nor the parsed list is ever completely in memory. Does not validate the items; parsing them does.
 */
export class ItemScanner {
  readonly #take: (item: Buffer) => void;
  /** Quoted names of the members that lead to the items. Empty if the whole response is the list. */
  readonly #path: readonly string[];
  /** Bytes of the current item from earlier chunks. */
  #item: Buffer[] = [];
  /** Everything except the items. */
  #rest: Buffer[] = [];
  #restBytes = 0;
  /** Number of open brackets: of the current item, or of the response if no item has started. */
  #depth = 0;
  #inString = false;
  #escaped = false;
  #state: 'before' | 'between' | 'inItem' | 'after' = 'before';
  /** In state `between`: what came last. */
  #last: 'opening' | 'item' | 'comma' = 'opening';
  /** In state `before`: how many members of `#path` are open. */
  #onPath = 0;
  /** In state `before`: the last member name of the innermost object on the path, and whether its value comes next. */
  #name = '';
  #isValueNext = false;

  /**
   * `take` must not keep the bytes. `path`: the members that lead from the root object to the list. Empty: the root is the
   * list.
   */
  constructor(take: (item: Buffer) => void, path: readonly string[] = []) {
    this.#take = take;
    this.#path = path.map((name) => JSON.stringify(name));
  }

  /** Throws `NotJsonError`, `NotObjectsError`, and any error that `take` throws. */
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
    // Copied, so that the kept bytes do not keep the whole chunk in memory.
    if (this.#state === 'inItem') this.#item.push(Buffer.from(chunk.subarray(from)));
    else if (this.#state !== 'between') this.#keep(chunk.subarray(from));
  }

  /** The parsed response with an empty list. Throws `NotJsonError` if the response is incomplete. */
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

  /**
   * Position of the end of the current item, or the length of the chunk. This loop is fast, because it sees nearly every
   * byte.
   */
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

  /** Processes one byte between items. Returns the position from which the chunk is still needed. */
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

  /** Processes one byte before the items. Returns whether it opens the list. */
  #beginsItems(byte: number): boolean {
    const wanted = this.#path[this.#onPath];
    if (wanted === undefined) {
      if (isSpace(byte) || this.#depth > 0) return false;
      this.#depth += 1;
      return byte === OPENING_BRACKET;
    }
    const wasInString = this.#inString;
    const isOnPath =
      this.#depth === this.#onPath + 1 && this.#isValueNext && !wasInString && this.#name === wanted;
    const isLast = this.#onPath === this.#path.length - 1;
    if (isOnPath && isLast && byte === OPENING_BRACKET) return true;
    this.#stepBefore(byte);
    if (isOnPath && !isLast && byte === OPENING_BRACE) {
      this.#onPath += 1;
      this.#isValueNext = false;
      return false;
    }
    if (this.#depth <= this.#onPath) this.#onPath = Math.max(0, this.#depth - 1);
    if (this.#depth === this.#onPath + 1) this.#stepInObject(byte, wasInString, wanted.length);
    return false;
  }

  #stepInObject(byte: number, wasInString: boolean, length: number): void {
    if (wasInString || this.#inString) {
      // Kept only long enough to tell it apart from the name on the path.
      this.#name = wasInString ? `${this.#name.slice(0, length)}${String.fromCharCode(byte)}` : '"';
    } else if (byte === COLON) this.#isValueNext = true;
    else if (!isSpace(byte)) this.#isValueNext = false;
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

/** Throws `NotJsonError`, also for invalid UTF-8: a replacement character would silently change an id or an address. */
export function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(decoder.decode(bytes)) as unknown;
  } catch {
    throw new NotJsonError('invalid JSON');
  }
}
