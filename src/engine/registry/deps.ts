import type { MissingPermissions } from '../../kube/permissions.ts';
import type { GatewayUpstream, ServiceRegistry } from '../../model/objects.ts';
import type { RegistryFacts } from '../../model/registry-facts.ts';
import type { StoreView } from '../../model/store-view.ts';
import type { Reporter } from '../status/reporter.ts';

/** What the sources know about each ServiceRegistry. */
export interface RegistryReader {
  /** Undefined while the ServiceRegistry does not exist or its spec is not valid. */
  facts(name: string): RegistryFacts | undefined;
  /** Calls `changed` with the name of a registry whose facts may have changed, besides a later time. */
  onFacts(changed: (name: string) => void): Disposable;
}

export interface RegistryReconcilerDeps {
  /** Absent if the operator does not watch ServiceRegistries. */
  readonly registries?: StoreView<ServiceRegistry>;
  readonly registryReader?: RegistryReader;
  /** With the index `registry`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly permissions: MissingPermissions;
  readonly reporter: Reporter;
}
