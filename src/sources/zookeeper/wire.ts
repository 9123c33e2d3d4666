/** Types of requests. */
export const OPERATION = {
  exists: 3,
  getData: 4,
  sync: 9,
  getChildren: 12,
  removeWatches: 18,
  authenticate: 100,
  closeSession: -11,
} as const;

/** Errors in replies. */
export const FAILURE = {
  none: 0,
  badArguments: -8,
  noNode: -101,
  noAuth: -102,
  authFailed: -115,
} as const;

/** Numbers in place of that of a request. */
export const NOTIFICATION = -1;
export const AUTHENTICATION = -4;

/** Every watch of a path, in a request to remove watches. */
export const ANY_WATCH = 3;

/** No server that works sends a longer message: a list of a million names. Longer ones are not from ZooKeeper. */
const MAX_MESSAGE_BYTES = 256 * 1024 * 1024;
const LENGTH_BYTES = 4;
/** Number of the request, transaction, error. */
const HEAD_BYTES = 16;

/** The bytes are not a message of ZooKeeper. */
class MalformedMessage extends Error {
  override readonly name = 'MalformedMessage';
}

/** Writes one message. */
export class MessageWriter {
  readonly #parts: Buffer[] = [];

  int(value: number): this {
    const part = Buffer.alloc(4);
    part.writeInt32BE(value);
    this.#parts.push(part);
    return this;
  }

  long(value: bigint): this {
    const part = Buffer.alloc(8);
    part.writeBigInt64BE(value);
    this.#parts.push(part);
    return this;
  }

  bool(value: boolean): this {
    this.#parts.push(Buffer.from([value ? 1 : 0]));
    return this;
  }

  buffer(value: Buffer): this {
    this.int(value.length).#parts.push(value);
    return this;
  }

  text(value: string): this {
    return this.buffer(Buffer.from(value));
  }

  /** With its length. */
  message(): Buffer {
    const body = Buffer.concat(this.#parts);
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeInt32BE(body.length);
    return Buffer.concat([length, body]);
  }
}

/** Reads one message. Throws `MalformedMessage` beyond its end. */
export class MessageReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  int(): number {
    return this.#take(4).readInt32BE();
  }

  long(): bigint {
    return this.#take(8).readBigInt64BE();
  }

  bool(): boolean {
    return this.#take(1)[0] !== 0;
  }

  /** Empty for null. */
  buffer(): Buffer {
    const length = this.int();
    return length === -1 ? Buffer.alloc(0) : this.#take(length);
  }

  texts(): readonly string[] {
    const count = Math.max(0, this.int());
    if (count * LENGTH_BYTES > this.left) throw new MalformedMessage('a list is longer than its message');
    return Array.from({ length: count }, () => this.buffer().toString());
  }

  #take(length: number): Buffer {
    if (length < 0 || length > this.left) throw new MalformedMessage('a message ends too early');
    const part = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return part;
  }
}

/** What a splitter receives for each message, which begins with the number of the request. */
export interface MessageReceiver {
  /** Whether a message of this length may be kept in memory. `head`: its first bytes, at most 16. */
  accepts(head: MessageReader, length: number): boolean;
  received(message: MessageReader): void;
}

/** Splits a stream of bytes into messages. A message that the receiver does not accept is skipped, and never kept as a whole. */
export class MessageSplitter {
  readonly #receiver: MessageReceiver;
  #chunks: Buffer[] = [];
  #size = 0;
  /** So many bytes must be there before the next step. */
  #needed = LENGTH_BYTES;
  #isAccepted = false;
  #toSkip = 0;

  constructor(receiver: MessageReceiver) {
    this.#receiver = receiver;
  }

  /** Whether the last message is not complete. */
  get isMidway(): boolean {
    return this.#size > 0 || this.#toSkip > 0;
  }

  /** Throws `MalformedMessage`. */
  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    while (this.#skip() && this.#size >= this.#needed) this.#step();
  }

  /** Whether nothing is left to skip. */
  #skip(): boolean {
    if (this.#toSkip === 0) return true;
    const skipped = Math.min(this.#toSkip, this.#size);
    this.#toSkip -= skipped;
    this.#keep(this.#joined().subarray(skipped));
    return this.#toSkip === 0;
  }

  #step(): void {
    const bytes = this.#joined();
    const length = bytes.readInt32BE();
    if (length <= 0 || length > MAX_MESSAGE_BYTES)
      throw new MalformedMessage('a message has no valid length');
    const headEnd = LENGTH_BYTES + Math.min(length, HEAD_BYTES);
    if (bytes.length < headEnd) {
      this.#needed = headEnd;
      return;
    }
    if (!this.#isAccepted) {
      if (!this.#receiver.accepts(new MessageReader(bytes.subarray(LENGTH_BYTES, headEnd)), length)) {
        this.#toSkip = LENGTH_BYTES + length;
        this.#needed = LENGTH_BYTES;
        return;
      }
      this.#isAccepted = true;
      this.#needed = LENGTH_BYTES + length;
      if (bytes.length < this.#needed) return;
    }
    const end = LENGTH_BYTES + length;
    this.#isAccepted = false;
    this.#needed = LENGTH_BYTES;
    this.#keep(bytes.subarray(end));
    this.#receiver.received(new MessageReader(bytes.subarray(LENGTH_BYTES, end)));
  }

  #joined(): Buffer {
    const [only = Buffer.alloc(0)] = this.#chunks;
    if (this.#chunks.length < 2) return only;
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }

  #keep(rest: Buffer): void {
    this.#chunks = [rest];
    this.#size = rest.length;
  }
}
