import { describe, expect, it } from 'vitest';
import { GatewayRejectedError, GatewayUnavailableError } from '../../../src/model/errors.ts';

describe('OperatorError', () => {
  it('keeps problem and remedy separate, and joins them in its message', () => {
    const error = new GatewayUnavailableError('http://a answered 404: not found', {
      remedy: 'correct spec.apisix.adminUrl',
      retryAfterMs: 1000,
    });
    expect(error).toMatchObject({
      name: 'GatewayUnavailableError',
      problem: 'http://a answered 404: not found',
      remedy: 'correct spec.apisix.adminUrl',
      message: 'http://a answered 404: not found: correct spec.apisix.adminUrl',
      retryAfterMs: 1000,
    });
  });

  it('uses the problem as its message if it has no remedy', () => {
    const cause = new Error('why');
    const error = new GatewayRejectedError('it is refused: by a rule', { cause });
    expect(error).toMatchObject({
      problem: 'it is refused: by a rule',
      message: 'it is refused: by a rule',
      cause,
    });
    expect(error.remedy).toBeUndefined();
  });
});
