import { describe, expect, it } from 'vitest';
import {
  deletionDeadline,
  deletionWaitVerdict,
  orphanReason,
  overdueReason,
} from '../../../src/decide/deletion-wait.ts';
import { GatewayUnavailableError, UpstreamInUseError } from '../../../src/model/errors.ts';
import type { GatewayUpstream } from '../../../src/model/objects.ts';

const object = (spec: object) => ({ spec: { ok: true, value: spec } }) as unknown as GatewayUpstream;
const unreadable = { spec: { ok: false, message: 'of another version' } } as unknown as GatewayUpstream;

describe('a pending deletion', () => {
  it('ends after the timeout in the spec, or after the default if the spec is unreadable', () => {
    const at = '2026-01-01T00:00:00Z';
    expect(deletionDeadline(object({ deletionTimeout: '1m' }), at)).toBe(Date.parse(at) + 60_000);
    expect(deletionDeadline(unreadable, at)).toBeGreaterThan(Date.parse(at));
    const failure = new GatewayUnavailableError('no answer');
    expect(overdueReason(object({ deletionTimeout: '1m' }), failure)).toBe(
      'it could not be deleted within 1m, and the operator deletes it once that is possible: no answer',
    );
  });

  it('names the deletion policies that help if the upstream is in use', () => {
    const failure = new UpstreamInUseError('route 7 uses it');
    expect(deletionWaitVerdict(failure, 'Delete')).toMatchObject({
      status: 'False',
      reason: 'InUse',
      message: expect.stringMatching(/route 7 uses it.*Orphan or Force$/),
    });
    expect(deletionWaitVerdict(failure, 'Force').message).toMatch(/deletionPolicy to Orphan$/);
  });

  it('is Unknown while the gateway does not answer', () => {
    expect(deletionWaitVerdict(new GatewayUnavailableError('no answer'), 'Delete')).toEqual({
      status: 'Unknown',
      reason: 'GatewayUnavailable',
      message: 'Deletion is pending: no answer',
    });
  });

  it('keeps the upstream because of syncPolicy or deletionPolicy', () => {
    expect(orphanReason(object({ syncPolicy: 'UpsertOnly' }))).toBe('syncPolicy is UpsertOnly');
    expect(orphanReason(object({ syncPolicy: 'Sync' }))).toBe('deletionPolicy is Orphan');
    expect(orphanReason(unreadable)).toBe('deletionPolicy is Orphan');
  });
});
