import type { ObservedOwner } from './ownership.ts';
import type { Upstream } from './upstream.ts';

/** What a gateway says of itself. */
export interface GatewayInfo {
  /** e.g. `3.18.0`; absent where the gateway does not say. */
  readonly version?: string;
}

/** A part of an upstream that a gateway of this kind and version cannot take, or accepts but ignores. */
export interface Unsupported {
  /** In the spelling of a GatewayUpstream, e.g. `spec.tls.verify`. */
  readonly field: string;
  /** What the gateway does instead, and which versions do better: what may follow `because`. */
  readonly message: string;
}

/** Something that only some versions of a kind of gateway can do. */
export interface Capability {
  /** CamelCase, stable. */
  readonly name: string;
  readonly supported: boolean;
  /** The first version that can, e.g. `3.5.0`. */
  readonly since: string;
}

/** What decisions depend on of one kind of gateway. Pure. */
export interface GatewayFacts {
  /** `spec.type` of its GatewayConnections. */
  readonly type: string;
  /** Its field in the specs of GatewayConnection and GatewayUpstream. */
  readonly section: string;
  readonly ownership: {
    /** What it keeps the mark of an owner in, in the words of a message: `labels`. */
    readonly keptIn: string;
    /** The marks of `owner`, by name. */
    encode(owner: ObservedOwner): Readonly<Record<string, string>>;
  };

  readonly format: {
    /**
     * What `desired` has that a gateway of which `info` is known would refuse or ignore; empty: it takes all of it. A
     * gateway that does not say its version counts as the newest.
     */
    unsupported(desired: Upstream, info: GatewayInfo): readonly Unsupported[];
  };
}
