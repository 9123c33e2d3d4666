import manifest from '../../package.json' with { type: 'json' };

/** The version of this program, which is also the tag of its image and the appVersion of its chart. */
export const VERSION: string = manifest.version;
