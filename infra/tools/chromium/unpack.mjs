// Unpacks the browser into the folder for temporary files, with the libraries that it needs where it thinks it is in Lambda.
import chromium from "@sparticuz/chromium";

await chromium.executablePath();
