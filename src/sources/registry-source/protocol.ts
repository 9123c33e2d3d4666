import type { Endpoint } from '../../model/endpoint.ts';
import { type Complaint, complaintText } from '../../model/errors.ts';
import type { RegistryErrorReason } from '../../model/registry-facts.ts';
import type { ServiceQuery } from '../registry.ts';

/** One request for the instances of a service. */
export interface InstancesRequest<Cursor> {
  readonly query: ServiceQuery;
  /** Base URL of the server, without credentials. */
  readonly server: URL;
  /** What the last complete answer came with; undefined before the first one. */
  readonly cursor: Cursor | undefined;
  /** How long the registry may wait for a change before it answers, in milliseconds. 0: it answers at once. */
  readonly waitMs: number;
  /** How long an answer may take beyond `waitMs`, in milliseconds. */
  readonly timeoutMs: number;
}

export interface InstancesAnswer<Instance, Cursor> {
  /** Every instance of the service, whatever its state; undefined: nothing has changed since the cursor. */
  readonly instances: readonly Instance[] | undefined;
  readonly cursor: Cursor;
  /** How many entries were read for this answer, if that can be more than the instances in it. */
  readonly read?: number;
}

export type VersionRequest = Pick<InstancesRequest<never>, 'server' | 'timeoutMs'>;

/** Name of the service that probes ask for. No service has this name. */
export const PROBE_SERVICE = 'gateway-upstream-operator.probe';

/**
 * How one type of registry is asked. `RegistrySource` does everything else: subscriptions, pauses, fail-over, limits.
 * An implementation keeps no state of a service: what it needs for the next request is in the cursor.
 */
export interface RegistryProtocol<Instance, Cursor> {
  readonly type: string;
  /** Whether the registry can wait for a change. A registry that cannot is polled. */
  readonly blocking: boolean;
  /** Queries with the same key share one subscription. */
  key(query: ServiceQuery): string;
  /** Rejects with `RegistryError`, or with the signal's reason. A partial answer must reject. */
  ask(request: InstancesRequest<Cursor>, signal: AbortSignal): Promise<InstancesAnswer<Instance, Cursor>>;
  /** The endpoints that a backend with these options wants. */
  endpoints(instances: readonly Instance[], options: unknown): readonly Endpoint[];
  /** The options of a backend that decide at which address and port it uses an instance, without those that select instances. */
  placeOptions(options: unknown): unknown;
  /** A query that the registry answers quickly: for a service that does not exist, within the scope of the registry. */
  readonly probe: ServiceQuery;
  /** Resolves to undefined if the server does not report its version, or not to this client. */
  version?(request: VersionRequest, signal: AbortSignal): Promise<string | undefined>;
  /** The API that the server answered last. Absent if the registry has only one. */
  api?(server: URL): string | undefined;
  /** Closes idle connections. */
  close(): void;
}

/** A registry gave no complete answer. Messages hold no key, token or value of the registry. */
export class RegistryError extends Error implements Complaint {
  override readonly name = 'RegistryError';
  readonly reason: RegistryErrorReason;
  /**
   * `server`: another server may answer. `registry`: no server of this registry would answer differently. `service`: likewise,
   * and only this service is concerned.
   */
  readonly scope: 'server' | 'registry' | 'service';
  readonly problem: string;
  readonly remedy: string | undefined;

  constructor(reason: RegistryErrorReason, scope: RegistryError['scope'], complaint: Complaint) {
    super(complaintText(complaint));
    this.reason = reason;
    this.scope = scope;
    this.problem = complaint.problem;
    this.remedy = complaint.remedy;
  }
}

/** The section of the ServiceRegistry excludes the service: it is not asked for, and its nodes are removed. */
export class ServiceNotAllowed extends RegistryError {
  constructor(complaint: Complaint) {
    super('Unauthorized', 'service', complaint);
  }
}
