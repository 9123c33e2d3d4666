/** A request to the API server that failed. The message is short and holds no header, token or object. */
export class KubeApiError extends Error {
  override readonly name = 'KubeApiError';
  /** HTTP status; undefined where no usable answer came: network, TLS, timeout, broken body. */
  readonly status: number | undefined;
  /** `reason` of the Status object, e.g. `Forbidden`. */
  readonly kubeReason: string | undefined;
  readonly retryAfterMs: number | undefined;
  /** Nothing came for as long as was to be waited. */
  readonly silent: boolean;
  /** The answer had more bytes than the operator reads. */
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
