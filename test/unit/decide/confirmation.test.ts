import { describe, expect, it } from 'vitest';
import { confirmedVerdict } from '../../../src/decide/confirmation.ts';
import type { Verdict } from '../../../src/model/verdict.ts';

const programmed: Verdict = { status: 'True', reason: 'Programmed', message: 'written' };

describe('confirmedVerdict', () => {
  it('keeps Programmed after the gateway confirms the write', () => {
    expect(confirmedVerdict(programmed, { state: 'confirmed' })).toBe(programmed);
  });

  it('is Unknown until the data planes fetch the configuration', () => {
    expect(confirmedVerdict(programmed, { state: 'pending', message: '1 of 2 data planes' })).toEqual({
      status: 'Unknown',
      reason: 'Pending',
      message: 'Waiting for the gateway to confirm this configuration: 1 of 2 data planes',
    });
  });

  it('is Rejected if a data plane rejects the configuration, and names the configuration in force', () => {
    const verdict = confirmedVerdict(programmed, { state: 'rejected', message: 'p1: bad host' });
    expect(verdict).toMatchObject({ status: 'False', reason: 'Rejected' });
    expect(verdict.message).toContain('the last accepted configuration stays in force: p1: bad host');
  });

  it('ignores the confirmation if the write failed', () => {
    const failed: Verdict = { status: 'Unknown', reason: 'GatewayUnavailable', message: 'down' };
    expect(confirmedVerdict(failed, { state: 'rejected', message: 'x' })).toBe(failed);
  });
});
