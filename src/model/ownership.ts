/** The owner of an upstream, in a form that every gateway can store: each part has at most 64 characters. */
export interface OwnerMark {
  /** Name of the program. */
  readonly operator: string;
  readonly cluster: string;
  readonly connection: string;
  readonly namespace: string;
  readonly name: string;
  /** The upstream stays in the gateway when its object is deleted. */
  readonly retain: boolean;
  /** What was known of the backends when the upstream was written (`backendsMark`), if it has registries. */
  readonly backends?: string;
}

/** The parts that identify the owner. */
export const IDENTITY = ['operator', 'cluster', 'connection', 'namespace', 'name'] as const;

/** The owner as read from a gateway. Parts are missing if another client replaced the upstream. */
export type ObservedOwner = Partial<Pick<OwnerMark, (typeof IDENTITY)[number]>> &
  Pick<OwnerMark, 'retain' | 'backends'>;
