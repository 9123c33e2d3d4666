import { expect, it, vi } from 'vitest';
import type { Reference } from '../../../src/model/reference.ts';
import type { DiscoverySource } from '../../../src/sources/source.ts';
import { combineSources, type SourceByKind } from '../../../src/sources/sources.ts';

function sourceThatLists<Ref extends Reference>(...listed: readonly string[]) {
  const listedElsewhere = vi.fn(
    (_: readonly Ref[], addresses: ReadonlySet<string>) =>
      new Set(listed.filter((address) => addresses.has(address))),
  );
  return { listedElsewhere } as unknown as DiscoverySource<Ref>;
}

it('asks only the sources of the references whether an address is listed elsewhere', () => {
  const sources: SourceByKind = {
    Kubernetes: sourceThatLists('10.0.0.1'),
    Registry: sourceThatLists('10.0.0.1', '10.0.0.2'),
  };
  const pods: Reference = {
    source: 'Kubernetes',
    namespace: 'shop',
    name: 'web',
    port: { by: 'servicePort', port: 80 },
    protocol: 'TCP',
  };
  const combined = combineSources(sources);
  const listed = combined.listedElsewhere([pods], new Set(['10.0.0.1', '10.0.0.2']));
  expect([...listed]).toEqual(['10.0.0.1']);
});
