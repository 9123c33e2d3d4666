import type { Snapshot } from '../../decide/snapshot.ts';
import type { ObjectWriter } from '../../kube/object-writer.ts';
import type { MissingPermissions } from '../../kube/permissions.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/logger.ts';
import type { ConnectionState } from '../connection/connections.ts';
import type { DataPlaneVerifier } from '../data-planes/verifier.ts';
import type { Finalizers } from '../finalizers.ts';
import type { Instruments } from '../instruments.ts';
import type { ObjectStates } from '../object-state.ts';
import type { OrphanCollector } from '../orphan-collector.ts';
import type { Reporter } from '../status/reporter.ts';

export interface UpstreamReconcilerDeps extends Snapshot {
  readonly states: ObjectStates;
  readonly connectionState: (name: string) => ConnectionState;
  readonly permissions: MissingPermissions;
  readonly orphans: Pick<OrphanCollector, 'retain'>;
  readonly writer: ObjectWriter;
  readonly reporter: Reporter;
  readonly finalizers: Pick<Finalizers, 'request' | 'failureVerdict'>;
  /** Schedules the finalizer of a connection. */
  readonly enqueueConnection: (name: string) => void;
  readonly verifier: Pick<DataPlaneVerifier, 'expect' | 'forget'>;
  readonly instruments: Pick<Instruments, 'propagated' | 'suppressed'>;
  readonly clock: Clock;
  readonly log: Logger;
}
