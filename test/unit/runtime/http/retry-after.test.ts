import { describe, expect, it } from 'vitest';
import { retryAfterMs } from '../../../../src/runtime/http/retry-after.ts';

const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1000).toUTCString();

describe('Retry-After', () => {
  it.each([
    ['0', 0],
    ['7', 7000],
    ['301', 300_000],
    ['9'.repeat(400), 300_000],
    [inSeconds(3600), 300_000],
    ['Mon, 01 Jan 2001 00:00:00 GMT', 0],
  ])('parses %s as %i ms', (header, ms) => {
    expect(retryAfterMs(header)).toBe(ms);
  });

  it('parses an HTTP date', () => {
    const ms = retryAfterMs(inSeconds(200));
    expect(ms).toBeGreaterThan(190_000);
    expect(ms).toBeLessThanOrEqual(200_000);
  });

  it.each([undefined, '', 'soon', '-5', '1.5', '2030-01-01', 'GMT'])('ignores %j', (header) => {
    expect(retryAfterMs(header)).toBeUndefined();
  });
});
