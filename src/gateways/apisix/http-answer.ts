import type { IncomingHttpHeaders } from 'node:http';

/** TLS as every interface of APISIX is spoken to. */
export interface TlsSettings {
  /** PEM. */
  readonly ca?: string;
  readonly clientCert?: string;
  readonly clientKey?: string;
  readonly serverName?: string;
  readonly insecureSkipVerify: boolean;
}

/** A whole answer, whatever its status. */
export interface HttpAnswer {
  readonly statusCode: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export type NoAnswer =
  | {
      readonly kind: 'timeout';
      readonly phase: 'connect' | 'answer';
      readonly ms: number;
      readonly at: string;
    }
  | { readonly kind: 'tooLarge'; readonly maxBytes: number }
  /** `isHalf`: it broke off. `code`: Node's, or a word of the library's. */
  | { readonly kind: 'broken'; readonly code: string; readonly isHalf: boolean };

/** A request brought no whole answer. What the library said is left behind: it holds the key and the body. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError';
  readonly why: NoAnswer;

  constructor(why: NoAnswer) {
    super(`no answer: ${why.kind}`);
    this.why = why;
  }
}

/** Of an answer about some objects: a page of ten, each of which etcd takes up to 1.5 MiB of. */
export const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/**
 * Of a list of everything, which is read item by item: 10,000 upstreams of 100 nodes each. What is kept of it takes three
 * times as much memory (docs/decisions/0033-lists-of-gateways-are-read-item-by-item.md).
 */
export const MAX_LIST_BYTES = 48 * 1024 * 1024;

/** What a list says besides its items, which were given one by one. */
export interface ListAnswer {
  readonly statusCode: 200;
  readonly headers: IncomingHttpHeaders;
  /** The list with no items in it. */
  readonly rest: unknown;
}

export const USER_AGENT = 'gateway-upstream-operator';
