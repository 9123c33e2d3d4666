import type { z } from 'zod';

/** What one type of gateway adds to the custom resources. */
export interface VendorSection {
  /** `spec.type` of a GatewayConnection, for example `APISIX`. */
  readonly type: string;
  /** Name of its field in the spec of a GatewayConnection, and of a GatewayUpstream if `upstreamSchema` is set. */
  readonly section: string;
  readonly connectionSchema: z.ZodType;
  /** The required fields of that section, for a message. */
  readonly requiredFields: string;
  /** Schema of the settings of a GatewayUpstream for this type of gateway only. `tenantPolicy.overrides` must allow them. */
  readonly upstreamSchema?: z.ZodType<UpstreamSection | undefined>;
}

/** Settings of a GatewayUpstream for one type of gateway. */
export interface UpstreamSection {
  /** Fields under the names of the vendor. They are written unchanged. */
  readonly overrides?: Readonly<Record<string, unknown>> | undefined;
}

/** The section of a vendor in the parsed spec of a custom resource; undefined if it is not set. */
export function sectionOf(spec: object, section: string): unknown {
  return (spec as Readonly<Record<string, unknown>>)[section];
}

/** Like `sectionOf`, for the spec of a GatewayUpstream. */
export function upstreamSectionOf(spec: object, section: string): UpstreamSection | undefined {
  return sectionOf(spec, section) as UpstreamSection | undefined;
}
