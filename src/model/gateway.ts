import type { ObservedOwner } from './ownership.ts';
import type { Upstream } from './upstream.ts';

/** What a gateway reports about itself. */
export interface GatewayInfo {
  /** e.g. `3.18.0`; absent if the gateway does not report it. */
  readonly version?: string;
}

/** A field of an upstream that a gateway of this type and version rejects, or accepts but ignores. */
export interface Unsupported {
  /** Path in a GatewayUpstream, e.g. `spec.tls.verify`. */
  readonly field: string;
  /** What the gateway does instead, and which versions do better: what may follow `because`. */
  readonly message: string;
}

/** A feature that only some versions of a gateway support. */
export interface Capability {
  /** CamelCase. Part of the API. */
  readonly name: string;
  readonly supported: boolean;
  /** The first version that supports it, e.g. `3.5.0`. */
  readonly since: string;
}

/** The properties of a gateway type that decisions depend on. Pure. */
export interface GatewayFacts {
  /** `spec.type` of its GatewayConnections. */
  readonly type: string;
  /** Name of its field in the specs of GatewayConnection and GatewayUpstream. */
  readonly section: string;
  readonly ownership: {
    /** Where the gateway stores ownership, for messages: `labels`. */
    readonly keptIn: string;
    /** The stored form of `owner`, by name. */
    encode(owner: ObservedOwner): Readonly<Record<string, string>>;
  };

  readonly format: {
    /** Whether a node keeps its `backendMark` in the gateway. */
    readonly keepsBackendMarks: boolean;
    /**
     * The fields of `desired` that a gateway with this `info` rejects or ignores. A gateway that does not report its version
     * is treated as the newest.
     */
    unsupported(desired: Upstream, info: GatewayInfo): readonly Unsupported[];
  };
}
