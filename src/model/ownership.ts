/** Whose an upstream is, in the form in which every gateway can keep it: no part has more than 64 characters. */
export interface OwnerMark {
  /** Name of the program. */
  readonly operator: string;
  readonly cluster: string;
  readonly connection: string;
  readonly namespace: string;
  readonly name: string;
  /** The upstream stays when its object goes. */
  readonly retain: boolean;
}

/** The parts of a mark that say whose an upstream is. */
export const IDENTITY = ['operator', 'cluster', 'connection', 'namespace', 'name'] as const;

/** What a gateway shows of a mark. Parts are missing where another client replaced the upstream. */
export type ObservedOwner = Partial<Pick<OwnerMark, (typeof IDENTITY)[number]>> & Pick<OwnerMark, 'retain'>;
