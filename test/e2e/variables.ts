/** Names the folder of the images that launch.ts built. */
export const IMAGES_VARIABLE = 'E2E_IMAGES';

/** Says what is missing on this machine. */
export const MISSING_VARIABLE = 'E2E_MISSING';
