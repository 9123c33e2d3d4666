import type { IncomingHttpHeaders } from 'node:http';

type Headers = Readonly<Record<string, string>>;

interface RequestSettings {
  /** Must not contain credentials, which belong in a header. */
  readonly url: URL;
  readonly headers?: Headers;
  /** From the call to the last byte of the response. Connecting has a separate timeout. */
  readonly timeoutMs: number;
}

export interface BareRequest extends RequestSettings {
  readonly method: 'GET' | 'DELETE';
  readonly body?: undefined;
}

export interface RequestWithBody extends RequestSettings {
  readonly method: 'PUT' | 'PATCH' | 'POST';
  /** Sent as JSON, or as a form. */
  readonly body: object | URLSearchParams;
}

export type HttpRequest = BareRequest | RequestWithBody;

/** A complete response with any status. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** A request for a list whose items are read one by one: GET, or POST with a body. */
export interface ListRequest extends RequestSettings {
  /** Sent as JSON. */
  readonly body?: object;
  /** The names of the members that lead to the items. Absent: the response itself is the list. */
  readonly path?: readonly string[];
  /**
   * Called with the JSON of each item as soon as it is complete. Must not keep the bytes. An error that it throws ends the
   * request.
   */
  readonly take: (item: Buffer) => void;
}

/** A POST request whose response is a stream of lines that does not end by itself. */
export interface LinesRequest extends RequestSettings {
  /** Sent as JSON. */
  readonly body: object;
  /** Called when the request is sent: it may have waited for a rate limit. */
  readonly sent?: () => void;
  /** Called with each line, which is cut after 64 KiB. Returns whether the request has served its purpose. */
  readonly take: (line: string) => boolean;
}

/** `take` returned true, or the server ended the stream. */
export type LinesResponse = Pick<ListResponse, 'status' | 'headers'>;

/** A list with status 200 whose items were passed to `take`. */
export interface ListResponse {
  readonly status: 200;
  readonly headers: IncomingHttpHeaders;
  /** The parsed response with an empty list in place of the items. */
  readonly rest: unknown;
}

const decoder = new TextDecoder();

export function decodeText(chunks: readonly Buffer[]): string {
  const [only] = chunks;
  return decoder.decode(chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks));
}
