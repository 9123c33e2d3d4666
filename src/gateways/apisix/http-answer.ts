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
  | { readonly kind: 'tooLarge' }
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

/** The list of 10,000 upstreams of 10 nodes is about 15 MiB. */
export const MAX_ANSWER_BYTES = 128 * 1024 * 1024;

export const USER_AGENT = 'gateway-upstream-operator';
