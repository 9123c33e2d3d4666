/** A failed request to the API server. The message is short and contains no header, token or object. */
export class KubeApiError extends Error {
  override readonly name = 'KubeApiError';
  /** HTTP status. Undefined without a usable response: network error, TLS error, timeout, broken body. */
  readonly status: number | undefined;
  /** `reason` of the Status object, for example `Forbidden`. */
  readonly kubeReason: string | undefined;
  readonly retryAfterMs: number | undefined;
  /** The request or the watch timed out. */
  readonly silent: boolean;
  /** The response exceeds `maxBytes`. */
  readonly tooLarge: boolean;

  constructor(
    message: string,
    details: {
      readonly status?: number | undefined;
      readonly kubeReason?: string | undefined;
      readonly retryAfterMs?: number | undefined;
      readonly silent?: boolean;
      readonly tooLarge?: boolean;
    } = {},
  ) {
    super(message);
    this.status = details.status;
    this.kubeReason = details.kubeReason;
    this.retryAfterMs = details.retryAfterMs;
    this.silent = details.silent ?? false;
    this.tooLarge = details.tooLarge ?? false;
  }
}
