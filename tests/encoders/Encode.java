// Writes a text as Java's standard library encodes it: reads base64 lines, answers with lines of name, tab,
// base64 of the encoded text, and an empty line after each text.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.StringWriter;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.Properties;

public class Encode {
    static void show(String name, String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        System.out.println(name + "\t" + Base64.getEncoder().encodeToString(bytes));
    }

    public static void main(String[] args) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            byte[] raw = Base64.getDecoder().decode(line);
            String secret = new String(raw, StandardCharsets.UTF_8);
            show("URLEncoder", URLEncoder.encode(secret, StandardCharsets.UTF_8));
            show("Base64", Base64.getEncoder().encodeToString(raw));
            show("Base64 url", Base64.getUrlEncoder().withoutPadding().encodeToString(raw));
            byte[] longer = ("a text before it, of some length: " + secret + " and one after").getBytes(StandardCharsets.UTF_8);
            show("Base64 mime", Base64.getMimeEncoder().encodeToString(longer));
            show("HexFormat", HexFormat.of().formatHex(raw));
            show("HexFormat with colons", HexFormat.ofDelimiter(":").withUpperCase().formatHex(raw));
            show("Arrays.toString", Arrays.toString(raw));
            Properties properties = new Properties();
            properties.setProperty("secret", secret);
            StringWriter stored = new StringWriter();
            properties.store(stored, null);
            show("Properties.store", stored.toString());
            java.io.ByteArrayOutputStream bytes = new java.io.ByteArrayOutputStream();
            properties.store(bytes, null);
            show("Properties.store as bytes", bytes.toString(StandardCharsets.ISO_8859_1));
            java.io.ByteArrayOutputStream xml = new java.io.ByteArrayOutputStream();
            properties.storeToXML(xml, null);
            show("Properties.storeToXML", xml.toString(StandardCharsets.UTF_8));
            System.out.println();
        }
    }
}
