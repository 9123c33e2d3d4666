import type { z } from 'zod';
import type { VendorSection } from '../api/vendor-section.ts';
import type { GatewayDriver, GatewayFormat } from './driver.ts';
import type { OwnershipMarks } from './ownership.ts';

/** A key of a Secret in the operator's namespace. */
export interface SecretKeyRef {
  readonly name: string;
  readonly key: string;
}

/** Limits that the operator sets for every driver. */
export interface DriverLimits {
  /** Maximum number of concurrent requests. */
  readonly concurrency: number;
  readonly requestTimeoutMs: number;
  /** A driver that sends several requests for one write calls it right before each request that writes. */
  readonly mayWrite?: () => boolean;
}

/** Where the operator reads what the data planes of a gateway serve. */
export type DataPlaneAddresses =
  | { readonly kind: 'urls'; readonly urls: readonly string[] }
  | {
      readonly kind: 'service';
      readonly service: {
        readonly namespace: string;
        readonly name: string;
        readonly port: number | string;
      };
      /** Path of the reference, e.g. `spec.apisix.controlApi.serviceRef`. */
      readonly field: string;
    };

/** Limits of a gateway type that affect the platform team. */
export interface VendorLimits {
  /** Older major versions are not supported. */
  readonly oldestMajorVersion: number;
}

/**
 * Everything that the program needs to know about one gateway type. `Section` is the parsed section of a GatewayConnection.
 * `Settings` are the inputs of a driver. They must be serializable as JSON, because the operator compares them to detect
 * changes.
 */
export interface Vendor<Section = unknown, Settings extends object = object> extends VendorSection {
  readonly connectionSchema: z.ZodType<Section>;

  /** All Secret keys that the section refers to. The connection requires that all of them exist. */
  secretRefs(section: Section): readonly SecretKeyRef[];

  /** The inputs of a driver. `secretValue` returns the value of a key from `secretRefs`. */
  settings(section: Section, secretValue: (ref: SecretKeyRef) => string): Settings;

  /** Throws an `Error` with a message for the user if the settings are invalid. */
  createDriver(settings: Settings & DriverLimits): GatewayDriver;

  /** Returns undefined if the operator must not query the data planes. Absent if the gateway has no data planes with addresses. */
  dataPlanes?(section: Section): DataPlaneAddresses | undefined;

  readonly format: GatewayFormat;
  readonly ownership: OwnershipMarks;
  readonly limits: VendorLimits;
}
