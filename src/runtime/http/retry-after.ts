import { MAX_RETRY_AFTER_MS } from './limits.ts';

/**
 * Parses `Retry-After`, in seconds or as an HTTP date (RFC 9110, 10.2.3). Returns milliseconds from now, or undefined if
 * invalid.
 */
export function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header)
    ? Number(header) * 1000
    : / GMT$/.test(header)
      ? Date.parse(header) - Date.now()
      : Number.NaN;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS);
}
