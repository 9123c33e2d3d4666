import { describe, expect, it, vi } from 'vitest';
import { type DebugStateDeps, debugState } from '../../../src/engine/debug-state.ts';
import type { GatewayUpstream } from '../../../src/model/objects.ts';
import { transformGatewayUpstream } from '../../support/catalog.ts';

const upstream = (name: string): GatewayUpstream => {
  const object = transformGatewayUpstream({
    metadata: { namespace: 'shop', name, uid: name, resourceVersion: '1' },
    spec: { connectionRef: { name }, backends: [{ serviceRef: { name: 'web', port: 80 } }] },
  });
  if (object === undefined) throw new Error('no object');
  return object;
};

describe('debugState', () => {
  it('reports an object that cannot be evaluated, and all other objects', async () => {
    const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn(), child: () => log };
    const deps = {
      upstreams: { list: () => [upstream('bad'), upstream('good')].values() },
      connections: {
        list: () => [].values(),
        get(_namespace: string, name: string) {
          if (name === 'bad') throw new RangeError('a value with a secret');
          return undefined;
        },
      },
      recall: () => undefined,
      log,
    } as unknown as DebugStateDeps;
    expect(await debugState(deps)).toMatchObject({
      upstreams: [
        {
          name: 'bad',
          problem: {
            reason: 'InternalError',
            message: 'the object cannot be evaluated: see the log of the operator',
          },
        },
        { name: 'good', accepted: { reason: 'ConnectionNotFound' } },
      ],
    });
    expect(log.error).toHaveBeenCalledTimes(1);
  });
});
