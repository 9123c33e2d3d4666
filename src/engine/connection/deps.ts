import type { Vendor } from '../../gateways/vendor.ts';
import type { ObjectWriter } from '../../kube/object-writer.ts';
import type { MissingPermissions } from '../../kube/permissions.ts';
import type { GatewayInfo } from '../../model/gateway.ts';
import type { GatewayConnection, GatewayUpstream } from '../../model/objects.ts';
import type { StoreView } from '../../model/store-view.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/logger.ts';
import type { DataPlaneVerifier } from '../data-planes/verifier.ts';
import type { Finalizers } from '../finalizers.ts';
import type { OrphanCollector } from '../orphan-collector.ts';
import type { Reporter } from '../status/reporter.ts';
import type { ConnectionState } from './connections.ts';

export interface ConnectionReconcilerDeps {
  readonly vendorOf: (type: string) => Vendor;
  readonly connections: StoreView<GatewayConnection>;
  /** With the index `connection`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly connectionState: (name: string) => ConnectionState;
  readonly gatewayInfo: (connection: GatewayConnection) => GatewayInfo;
  readonly permissions: MissingPermissions;
  readonly orphans: Pick<OrphanCollector, 'retained' | 'remaining' | 'unwatched' | 'forget'>;
  readonly finalizers: Pick<Finalizers, 'addTo' | 'failureVerdict' | 'forget'>;
  readonly verifier: Pick<DataPlaneVerifier, 'status'>;
  readonly writer: ObjectWriter;
  readonly reporter: Reporter;
  readonly clock: Clock;
  readonly log: Logger;
}
