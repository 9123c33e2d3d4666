import { describe, expect, it } from 'vitest';
import type { Departed } from '../../../../src/model/discovered.ts';
import type { Endpoint } from '../../../../src/model/endpoint.ts';
import { RemovedInstances } from '../../../../src/sources/registry-source/removed-instances.ts';

interface Instance {
  readonly address: string;
  readonly port: number;
  readonly wan?: string;
  readonly tag?: string;
  readonly leaving?: true;
  readonly metadata?: Readonly<Record<string, string>>;
}

interface Options {
  readonly tag?: string;
  readonly wan?: true;
}

function endpointsOf(instances: readonly Instance[], options: unknown): readonly Endpoint[] {
  const { tag, wan } = (options ?? {}) as Options;
  return instances
    .filter((instance) => tag === undefined || instance.tag === tag)
    .map(({ address, port, leaving, metadata, wan: far }) => ({
      address: wan === true ? (far ?? address) : address,
      family: 'IPv4',
      port,
      ready: leaving === undefined,
      serving: true,
      terminating: leaving === true,
      ...(metadata === undefined ? {} : { metadata }),
    }));
}

function removedAfter(...answers: readonly (readonly Instance[])[]) {
  const removed = new RemovedInstances<Instance>({
    endpoints: endpointsOf,
    placeOptions: (options) => ({ wan: (options as Options | undefined)?.wan }),
  });
  for (const answer of answers) removed.note(answer);
  return removed;
}

const at = (address: string, port?: number, portKey?: string): Departed => ({
  kind: 'address',
  address,
  ...(port === undefined ? {} : { port }),
  ...(portKey === undefined ? {} : { portKey }),
});

const A80: Instance = { address: 'A', port: 80 };
const A81: Instance = { address: 'A', port: 81 };
const LEAVING: Instance = { ...A80, leaving: true };

describe('an instance that shares its address with another one', () => {
  it('vanishes although the other one stays', () => {
    const removed = removedAfter([A80, A81], [A81]);
    expect(removed.cause(at('A', 80), undefined, true)).toBe('vanished');
  });

  it('is explained although the other one vanished', () => {
    const removed = removedAfter([LEAVING, A81], []);
    expect(removed.cause(at('A', 80), undefined, true)).toBe('explained');
    expect(removed.cause(at('A', 81), undefined, true)).toBe('vanished');
    expect(removed.cause(at('A'), undefined, true)).toBe('vanished');
  });

  it('and its port is explained only if both were terminating', () => {
    expect(removedAfter([LEAVING, A80], []).cause(at('A', 80), undefined, true)).toBe('vanished');
    expect(removedAfter([LEAVING, LEAVING], []).cause(at('A', 80), undefined, true)).toBe('explained');
  });
});

describe('an instance that the registry still lists', () => {
  const removed = removedAfter([{ ...A80, tag: 'blue' }], [{ ...A80, tag: 'green' }]);

  it('is explained for a backend whose filter it no longer matches', () => {
    expect(removed.cause(at('A', 80), { tag: 'blue' }, true)).toBe('explained');
  });

  it('is explained at the address that the options of the backend select', () => {
    const far: Instance = { ...A80, wan: 'W' };
    const changed = removedAfter([{ ...far, tag: 'blue' }], [{ ...far, tag: 'green' }]);
    expect(changed.cause(at('W', 80), { tag: 'blue', wan: true }, true)).toBe('explained');
    expect(changed.cause(at('W', 80), { tag: 'blue' }, true)).toBe('unknown');
    expect(changed.cause(at('A', 80), { tag: 'blue', wan: true }, true)).toBe('unknown');
  });

  it('is not explained while the answer is not current', () => {
    expect(removed.cause(at('A', 80), { tag: 'blue' }, false)).toBe('unknown');
  });
});

describe('an instance is recognized', () => {
  it('by the address that the options of the backend select', () => {
    const removed = removedAfter([{ ...LEAVING, wan: 'W' }], []);
    expect(removed.cause(at('W', 80), { wan: true }, true)).toBe('explained');
    expect(removed.cause(at('W', 80), undefined, true)).toBe('unknown');
  });

  it('by the port in its metadata', () => {
    const removed = removedAfter([{ ...A80, metadata: { grpc: '9090' } }, A81], [A81]);
    expect(removed.cause(at('A', 9090, 'grpc'), undefined, true)).toBe('vanished');
    expect(removed.cause(at('A', 9091, 'grpc'), undefined, true)).toBe('unknown');
    expect(removed.cause(at('A', 80, 'grpc'), undefined, true)).toBe('unknown');
  });
});

it('forgets the removal of an instance that returned', () => {
  expect(removedAfter([LEAVING], [], [A80], []).cause(at('A', 80), undefined, true)).toBe('vanished');
});

it('reports the reason for the removal of the last instances', () => {
  const cause = (...answers: readonly (readonly Instance[])[]) =>
    removedAfter(...answers).cause({ kind: 'all' }, undefined, true);
  expect(cause([A80])).toBe('unknown');
  expect(cause([LEAVING], [])).toBe('explained');
  expect(cause([LEAVING, A81], [])).toBe('vanished');
  expect(cause([LEAVING], [], [])).toBe('explained');
  expect(cause([LEAVING], [], [A80])).toBe('unknown');
});

it('remembers the latest 1000 places', () => {
  const many = Array.from({ length: 1001 }, (_, n) => ({ address: `A${n}`, port: 80 }));
  const removed = removedAfter(many, []);
  expect(removed.cause(at('A0', 80), undefined, true)).toBe('unknown');
  expect(removed.cause(at('A1', 80), undefined, true)).toBe('vanished');
});

describe('removed instances with a lot of metadata', () => {
  const large = (address: string): Instance => ({
    address,
    port: 80,
    metadata: { text: 'x'.repeat(100_000) },
  });

  it('are forgotten, the oldest first, beyond 256 Ki characters', () => {
    const removed = removedAfter([large('A')], [large('B')], [large('C')], []);
    expect(['A', 'B', 'C'].map((address) => removed.cause(at(address, 80), undefined, true))).toEqual([
      'unknown',
      'vanished',
      'vanished',
    ]);
  });

  it('take no space once they are listed again', () => {
    const again = Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? [large('A')] : []));
    expect(removedAfter(...again).cause(at('A', 80), undefined, true)).toBe('vanished');
  });
});
