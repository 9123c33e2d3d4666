import { describe, expect, it } from 'vitest';
import { connectionVerdicts } from '../../../src/decide/connection-verdicts.ts';
import { GatewayAuthError, GatewayUnavailableError } from '../../../src/model/errors.ts';

describe('connectionVerdicts', () => {
  it('reports the problem of an unusable connection', () => {
    const unusable = { reason: 'SecretNotFound', message: 'Secret x does not exist' } as const;
    expect(connectionVerdicts({ kind: 'unusable', ...unusable })).toEqual({
      reachable: { status: 'Unknown', ...unusable },
      authorized: { status: 'Unknown', ...unusable },
      problem: { status: 'False', ...unusable },
    });
  });

  it('is Unknown before the first answer', () => {
    const { reachable, authorized, problem } = connectionVerdicts({ kind: 'starting' });
    expect([reachable.status, authorized.status, problem]).toEqual(['Unknown', 'Unknown', undefined]);
  });

  it('is reachable but not authorized if the gateway rejects the key', () => {
    const error = new GatewayAuthError('the key is wrong');
    expect(connectionVerdicts({ kind: 'failing', error })).toMatchObject({
      reachable: { status: 'True', reason: 'Reachable' },
      authorized: { status: 'False', reason: 'Unauthorized', message: 'the key is wrong' },
    });
  });

  it('has unknown authorization while the gateway does not answer', () => {
    const error = new GatewayUnavailableError('no answer');
    expect(connectionVerdicts({ kind: 'failing', error })).toMatchObject({
      reachable: { status: 'False', reason: 'GatewayUnavailable', message: 'no answer' },
      authorized: { status: 'Unknown', reason: 'GatewayUnavailable' },
    });
  });

  it('is authorized while the gateway answers, unless it rejects every write', () => {
    expect(
      connectionVerdicts({ kind: 'ready', writeRefused: undefined, unlistable: undefined }).authorized.status,
    ).toBe('True');
    const writeRefused = new GatewayAuthError('reads only');
    expect(connectionVerdicts({ kind: 'ready', writeRefused, unlistable: undefined })).toMatchObject({
      reachable: { status: 'True' },
      authorized: { status: 'False', message: 'reads only' },
    });
  });
});
