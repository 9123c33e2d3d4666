import { type Change, newName } from './change.ts';
import { ENDPOINT_CHANGES } from './endpoint-changes.ts';
import { KEPT_CHANGES } from './kept-changes.ts';
import { NODE_CHANGES } from './node-changes.ts';
import type { Mode } from './places.ts';
import { REGISTRY_CHANGES } from './registry-changes.ts';
import { SECRET_CHANGES } from './secret-changes.ts';
import { makeRandomService, SERVICE_CHANGES } from './service-changes.ts';
import { SET_CHANGES } from './set-changes.ts';
import { makeRandomUpstream, UPSTREAM_CHANGES } from './upstream-changes.ts';
import { changeAddressing } from './upstreams.ts';

export const CHANGES: readonly Change[] = [
  ...ENDPOINT_CHANGES,
  ...SERVICE_CHANGES,
  ...NODE_CHANGES,
  ...UPSTREAM_CHANGES,
  ...KEPT_CHANGES,
  ...SET_CHANGES,
  ...SECRET_CHANGES,
  ...REGISTRY_CHANGES,
  {
    name: 'addressing of the connection changed',
    weight: 2,
    async apply(site, random) {
      const mode = random.pick<Mode>(['Pod', 'Pod', 'Node', 'DNS']);
      if (mode === site.model.addressing) return undefined;
      await changeAddressing(site, mode);
      return mode;
    },
  },
  {
    name: 'namespace created',
    weight: 1,
    async apply(site, random) {
      if (site.model.namespaces.size > 2) return undefined;
      const namespace = `${site.name}-${newName(site, 'n')}`;
      await site.makeNamespace(namespace);
      await makeRandomService(site, random, namespace, newName(site, 's'));
      await makeRandomUpstream(site, random, namespace, newName(site, 'u'));
      return namespace;
    },
  },
  {
    name: 'namespace deleted',
    weight: 1,
    async apply(site) {
      const [, , namespace] = site.model.namespaces;
      if (namespace === undefined) return undefined;
      await site.removeNamespace(namespace);
      return namespace;
    },
  },
];
