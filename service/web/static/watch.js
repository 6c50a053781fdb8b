// Pages that only watch: one incident, one person, the list of persons.
import { sendForms } from "./forms.js";
import { Live } from "./live.js";
import { refreshRegion } from "./parts.js";

const region = document.querySelector("[data-live]");
const live = new Live({ refresh: () => refreshRegion(region) });
sendForms(() => live.reread());
