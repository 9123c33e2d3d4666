import type { BreakableProxy, Lag, RegistryFault } from './fault-proxy.ts';

/** One instance of a service. */
export interface FaultInstance {
  readonly address: string;
  readonly ready?: boolean;
}

type SecretData = Readonly<Record<string, string>>;

/** A real registry and what the fault suite does with it. */
export interface RegistryUnderTest extends AsyncDisposable {
  readonly url: URL;
  /** Default: a proxy for HTTP. */
  readonly startProxy?: (target: URL) => Promise<BreakableProxy>;
  /** What a status says about a fault, where it differs from registries over HTTP. */
  readonly messages?: Readonly<Partial<Record<RegistryFault, RegExp>>>;
  /** Type of the ServiceRegistry. */
  readonly type: string;
  /** Makes `instances` everything that the registry has of the service. */
  register(service: string, instances: readonly FaultInstance[]): Promise<void>;
  /** Changes one registered instance in a way that does not concern gateways. */
  touch(service: string, address: string): Promise<void>;
  /** Ends the server. After `start` it has no instance. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** The spec of a ServiceRegistry of these servers, with the credentials in Secret `secret`. */
  spec(servers: readonly string[], secret: string): object;
  /** Credentials with the documented permissions. */
  credentials(): Promise<SecretData>;
  /** Credentials that the registry accepts and that permit nothing. Absent: the registry has no permissions. */
  readonly withoutRights?: () => Promise<SecretData>;
  /** Credentials that the registry does not know. */
  readonly unknown: SecretData;
  /** Credentials that can be withdrawn. Absent: the registry keeps a session that it began. */
  readonly revocable?: () => Promise<{ readonly data: SecretData; revoke(): Promise<void> }>;
  /** Credentials that expire. */
  readonly expiring?: () => Promise<{ readonly data: SecretData; readonly expiresAtMs: number }>;
  /** Takes a backup. The returned function restores it. Absent: the registry has no backups. */
  readonly backup?: () => Promise<() => Promise<void>>;
  /** The answer of now for a service, as a server gives it later that lags behind. Absent: servers cannot lag visibly. */
  readonly answer?: (service: string) => Promise<Lag>;
}
